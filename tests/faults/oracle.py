"""A repository under test, and what must hold of it after anything that went wrong."""

import re
import shutil

import data
from harness import Failed, expect

KEY_FILE = "backup.key"
RECOVERY_FILE = "backup.recovery"
SEALED = f"  - encrypt: {{ aes-256-gcm: {{ key_file: {KEY_FILE}, create: true, recovery_key_file: {RECOVERY_FILE} }} }}\n"
# Left by a creation, by design without meaning: `schemas/repository-format.md`.
PASSING = re.compile(r"keys/probe-|tmp/")
RECEIPT = re.compile(r"runs/([^/]+)/receipts/[^/]+/([^/]+/[^/]+)/(\d+)\.json$")
PART = re.compile(r"data/([^/]+)/([^/]+)/part-([^-]+)-[^/]+\.parquet$")


class Repository:
    """A repository that one place backs its source up to, with all that is known to be in it."""

    def __init__(self, place, store, source, name="backup", key_file=KEY_FILE, more="", sealed=SEALED):
        self.place, self.store, self.source, self.key_file, self.file = place, store, source, key_file, f"{name}.yaml"
        place.variables.update(store.variables)
        paths = ", ".join(str(source.folder / dataset) for dataset in source.datasets)
        place.write(self.file, (
            f"version: 1\nname: {name}\nstages:\n  - source: {{ files: {{ path: [{paths}], id: id }} }}\n"
            f"{sealed}  - sink: {{ repository: {{ url: {store.url!r}, create: if_missing }} }}\n{more}"))
        self.known, self.seen, self.restores = {}, {}, 0

    # ---- commands

    def start(self, **variables):
        """Starts the backup."""
        return self.place.start("run", self.file, "--json", **variables)

    def backup(self, *codes, within=120.0, **variables):
        """Runs the backup; it must end with one of the codes (default 0)."""
        return self.start(**variables).end(within).ends(*(codes or (0,)))

    def catalog(self, *words, codes=(0,)):
        """A command of `catalog` or `key` that reads."""
        return self.place.run(*words, "-r", self.store.url, "--key-file", self.key_file, "--json").ends(*codes)

    def listed(self):
        """The ids that `catalog list` shows, all of which must be complete."""
        # Where a run was killed before it made the key file or the repository there is nothing to open: 10 says so.
        codes = (0,) if self.known or "repository.json" in self.store.objects() else (0, 10)
        ran = self.catalog("catalog", "list", codes=codes)
        if ran.code == 10:
            return []
        lines = ran.lines("snapshot")
        wrong = [line for line in lines if line["status"] != "complete" or line["problem"]]
        expect(not wrong, f"listed and not whole: {wrong}", ran)
        return [line["snapshot"] for line in lines]

    def restore(self, snapshot, expected):
        """Restores a snapshot with the binary and the key alone and compares every row."""
        self.restores += 1
        target = self.place.path(f"out-{self.restores}")
        ran = self.place.run("restore", self.store.url, "--to", target, "--snapshot", snapshot, "--key-file", self.key_file, "--yes").ends(0)
        wrong = data.difference(expected, data.read_export(target))
        expect(wrong is None, f"snapshot {snapshot} does not restore identically: {wrong}", ran)
        shutil.rmtree(target)

    # ---- the oracle

    def examine(self, expected=None, whole=False):
        """Everything that was there is there unchanged, and everything listed restores: new snapshots to `expected` (default: what
        the source holds now), known ones by their unchanged bytes, or `whole` as well. Gives the ids of the new ones."""
        objects = self.store.objects()
        lasting = {path: digest for path, digest in self.seen.items() if not PASSING.match(path)}
        gone = [path for path in lasting if path not in objects]
        changed = [path for path, digest in lasting.items() if objects.get(path, digest) != digest]
        expect(not gone and not changed, f"objects are gone: {gone[:3]}, or were changed: {changed[:3]}")
        ids = self.listed()
        expect(len(set(ids)) == len(ids), f"a snapshot is listed twice: {ids}")
        lost = [snapshot for snapshot in self.known if snapshot not in ids]
        expect(not lost, f"snapshots that were reported are not listed: {lost}")
        new = [snapshot for snapshot in ids if snapshot not in self.known]
        for snapshot in new:
            self.known[snapshot] = expected or self.source.content()
        for snapshot in self.known if whole else new:
            self.restore(snapshot, self.known[snapshot])
        self.seen = objects
        return new

    def progress(self):
        """What an interrupted run left, for [Progress]."""
        return Progress(self.store.objects())

    def under_way(self, receipts=0):
        """The open run, once it has so many receipts; else none. Cheap."""
        progress = Progress(self.store.runs())
        return next((run for run in progress.open_runs() if progress.finished(run) >= receipts), None)

    def rerun(self, **variables):
        """The same command again, after whatever happened: it succeeds, goes on where the last one stopped, redoes nothing that
        was finished, and what it makes restores. Gives its result."""
        before = self.progress()
        ran = self.backup(**variables)
        summary, after = ran.summary(), self.progress()
        expect(summary["status"] == "done", "the run is not done", ran)
        open_runs = before.open_runs()
        if open_runs:
            # A store may have done the commit of a process that was dead already.
            late = summary["snapshot"] not in open_runs and set(open_runs) <= after.committed
            expect(late or summary["resumed"] and summary["snapshot"] in open_runs, f"runs {open_runs} were open and not resumed", ran)
        else:
            expect(not summary["resumed"], "a finished run was taken up", ran)
        before.not_redone(after, summary["snapshot"], ran)
        new = self.examine()
        expect(summary["snapshot"] in new, f"the run reports {summary['snapshot']}, and new are {new}", ran)
        return ran


class Progress:
    """Intents, receipts, data files and commits, by their paths alone: contents are sealed."""

    def __init__(self, objects):
        self.receipts = {(m[1], m[2], int(m[3])) for m in map(RECEIPT.match, objects) if m}
        self.parts = {}
        for match in filter(None, map(PART.match, objects)):
            self.parts.setdefault((match[2], f"{match[1]}/{match[3]}"), set()).add(match[0])
        self.intents = {path.split("/")[1] for path in objects if re.match(r"runs/[^/]+/intent\.json$", path)}
        self.committed = {path.split("/")[1] for path in objects if re.match(r"snapshots/[^/]+/manifest\.json$", path)}

    def open_runs(self):
        """Runs without an outcome: here a run and its snapshot have the same name."""
        return sorted(self.intents - self.committed)

    def finished(self, run):
        """How many splits of a run have their receipt."""
        return sum(receipt[0] == run for receipt in self.receipts)

    def phase(self):
        """Where a kill found the run, in a word."""
        runs = self.open_runs()
        if not runs:
            return "before its intent, or after its commit"
        return "with receipts" if self.finished(runs[-1]) else "without receipts"

    def not_redone(self, after, snapshot, ran):
        """Fails where a split of `snapshot` that had its receipt before was written again."""
        for run, split, number in self.receipts:
            if run != snapshot:
                continue
            expect((run, split, number + 1) not in after.receipts, f"split {split} got another receipt", ran)
            again = after.parts.get((run, split), set()) - self.parts.get((run, split), set())
            expect(not again, f"split {split} had its receipt and was written again: {again}", ran)


def measure(repository, times=2):
    """The time of a clean run, in seconds, measured here and now."""
    taken = []
    for _ in range(times):
        repository.source.change()
        taken.append(repository.backup().seconds)
        repository.examine()
    if not repository.known:
        raise Failed("the clean runs left no snapshot")
    return min(taken)

"""What the suite must know of a database. Everything else in this folder names none: a new database is a folder in `databases/` with a
class of these methods, and one line in `run`."""


class Server:
    """One running server: how restow connects to it, and the environment that takes (for secrets)."""

    # What is spoken at each of the addresses, for relays that understand it: `http`, `grpc`, or `tcp` for anything else.
    speaks = ()

    def __init__(self, label, connection, variables, addresses, handle):
        self.label, self.connection, self.variables, self.addresses, self.handle = label, connection, variables, addresses, handle

    def at(self, addresses):
        """The same server behind other addresses: a relay. Connections are the database's to write."""
        raise NotImplementedError


class Node:
    """A server of a job's own, which may be killed: the same data and the same addresses at each start."""

    # How restow connects to it.
    server = None

    def start(self):
        """Starts it, and waits until it is ready."""
        raise NotImplementedError

    def kill(self):
        """Ends it as a loss of power does: SIGKILL."""
        raise NotImplementedError

    def close(self):
        """Ends it, and removes what it has stored."""
        raise NotImplementedError


class Connector:
    """A database. Worlds are its own: what a server holds, read without restow, in a form that `differences` compares."""

    name = ""
    # Modules with jobs of its own, in its folder.
    groups = ()
    # The part of a fixture that restores are killed over: some thousand objects of every shape, written in seconds.
    for_kills = {}
    # A smaller one of rows that refer to each other, a part of which has the same ids whatever the seed.
    for_steps = {}
    # Options of the source that make a backup of such a fixture take some time: more moments to die at.
    slow = {}
    # Options of the sink that make a restore of some thousand rows take some time.
    slow_sink = {}
    # Options of the source by which a backup is of one moment, which it states; none where there is no such thing.
    settled = None
    # What an error about a missing or wrong key says, one of these.
    key_words = ()
    # Options of the sink without which it leaves out things that are no dataset.
    all_of_it = {}
    # Options of the source that change who evaluates a filter, by a word for each; what is selected must be the same with all of them.
    evaluations = {"": {}}

    def servers(self):
        """The servers to test on, the newest first, from the environment; an exception with the remedy where there are none."""
        raise NotImplementedError

    def node(self, label, folder):
        """A [Node] of the version of the server with this label, with its data in that folder."""
        raise NotImplementedError

    def changes(self, method, path):
        """Whether a request of the wire changes anything. `RPC` is the method of a function of gRPC."""
        raise NotImplementedError

    # ---- what a server holds

    def fill(self, server, prefix, seed, full, like=None, **what):
        """Makes a fixture, the same for the same seed; all names begin with the prefix. `like` another server: only what that can hold."""
        raise NotImplementedError

    def empty(self, server, prefix, seed):
        """Makes datasets without a row, of every shape."""
        raise NotImplementedError

    def wipe(self, server, prefix):
        """Removes everything whose name begins with the prefix."""
        raise NotImplementedError

    def read(self, server, prefix="", names=None):
        """The world, or the part of these datasets. What had to be changed for reading is put back."""
        raise NotImplementedError

    def present(self, server):
        """Names of the datasets that are there at this moment. Cheap, and right while others write."""
        raise NotImplementedError

    def datasets(self, world):
        """Names of the datasets, sorted."""
        raise NotImplementedError

    def part(self, world, names):
        """The part of a world that belongs to these datasets."""
        raise NotImplementedError

    def differences(self, expected, actual, rename=None, across=False):
        """What differs, a line each; none is equal."""
        raise NotImplementedError

    def restored(self, backup, there, rename, rule):
        """The world that a restore under a rule (mode, conflicts) makes of what is there. `there` has the new names, or is none."""
        raise NotImplementedError

    def shared(self, world, other, rename):
        """The ids that both worlds have, by dataset of the other one: {dataset: [id, ..]}."""
        raise NotImplementedError

    def beside(self, expected, actual, rename=None):
        """What differs of that which is no dataset (aliases, roles, ..) from what a restore with `all_of_it` gives: {kind: lines}, each a case of
        its own. What no restore can write must not be there."""
        raise NotImplementedError

    def confirm(self, server, world):
        """What the official client sees otherwise than this world says, a line each: another reader than `read`, by another way."""
        raise NotImplementedError

    def row_differences(self, world, datasets, rename=None, times=True):
        """What differs between a world and the rows of an export."""
        raise NotImplementedError

    # ---- pipelines

    def source(self, names=None, **options):
        """The source component, over the connection `server`. Options that make it take everything are added."""
        raise NotImplementedError

    def sink(self, **options):
        """The sink component, over the connection `server`."""
        raise NotImplementedError

    # ---- a plain dataset: `name` text, `number` integer, `ratio` float, `flag`, `day`, `tags` list of texts, a vector of [simple.SIZE]

    def make(self, server, dataset):
        """Makes the empty dataset."""
        raise NotImplementedError

    def put(self, server, dataset, rows):
        """Writes rows of `simple`, replacing those that are there."""
        raise NotImplementedError

    def delete(self, server, dataset, ids):
        """Removes rows, also of a dataset of a fixture."""
        raise NotImplementedError

    def rows(self, server, dataset):
        """The rows as `simple` has them, by id."""
        raise NotImplementedError

    def of_export(self, row):
        """A row of an export of the plain dataset, as `simple` has it."""
        raise NotImplementedError

    def as_import(self, row):
        """A row as a file for import would hold it."""
        raise NotImplementedError

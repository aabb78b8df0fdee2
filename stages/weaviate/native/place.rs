//! Where the files of a class are: on one node of one backup, and in the backups that this one builds on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::chunk::Compression;
use super::descriptor::{self, BaseFile, ClassFile, GLOBAL, GlobalFile, ShardFile, is_component};
use super::error::{NativeError, Result};
use super::extract::objects_file;

/// The part of a class that one node wrote.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) node: String,
    /// The `backup.json` that says so.
    pub(super) descriptor: PathBuf,
    pub(super) compression: Compression,
    /// By their names.
    pub(super) shards: BTreeMap<String, PlacedShard>,
    folder: PathBuf,
}

/// The files of the objects of one shard on one node.
#[derive(Debug)]
pub(super) struct PlacedShard {
    pub(super) name: String,
    /// The numbers of the chunks that have files of it.
    pub(super) chunks: BTreeSet<u32>,
    /// Those in the chunks of this backup, relative to the data folder of the server.
    pub(super) files: Vec<String>,
    /// Bytes of the large ones.
    pub(super) sizes: BTreeMap<String, u64>,
    /// Those in former backups, each with the folder of the node there.
    pub(super) base_files: Vec<(PathBuf, BaseFile)>,
}

/// The node of a backup whose descriptor is being read.
#[derive(Debug)]
pub(super) struct Node<'a> {
    /// The folder of the backup.
    pub(super) backup: &'a Path,
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) descriptor: PathBuf,
    pub(super) compression: Compression,
}

impl Place {
    /// Reads what a node says of a class.
    ///
    /// # Errors
    /// A name would lead out of the backup, the files are laid out as of old, or a base backup is not there.
    pub(super) fn of(node: &Node<'_>, class: &ClassFile) -> Result<Self> {
        if !is_component(&class.name) {
            let reason = format!("{:?} cannot be the name of a class", class.name);
            return Err(NativeError::descriptor(&node.descriptor, reason));
        }
        let mut shards = BTreeMap::new();
        for shard in &class.shards {
            shards.insert(shard.name.clone(), PlacedShard::of(node, &class.name, shard)?);
        }
        for (number, holds) in &class.chunks {
            for shard in holds {
                if let Some(shard) = shards.get_mut(shard) {
                    shard.chunks.insert(*number);
                }
            }
        }
        Ok(Self {
            node: node.name.to_owned(),
            descriptor: node.descriptor.clone(),
            compression: node.compression,
            shards,
            folder: node.backup.join(node.name).join(&class.name),
        })
    }

    /// The path of a chunk.
    pub(super) fn chunk(&self, number: u32) -> PathBuf {
        self.folder.join(format!("chunk-{number}"))
    }

    /// The shards in groups that share chunks.
    pub(super) fn groups(&self) -> Vec<Vec<&str>> {
        let mut members: Vec<Vec<&str>> = Vec::new();
        // The group of each shard, and of the chunks of the shards so far.
        let mut group_of_chunk = BTreeMap::new();
        let mut moved_to: Vec<usize> = Vec::new();
        for shard in self.shards.values() {
            let mut group = members.len();
            members.push(vec![&shard.name]);
            moved_to.push(group);
            for chunk in &shard.chunks {
                let other = group_of_chunk.get(chunk).map_or(group, |other| last_of(&moved_to, *other));
                group = join(&mut members, &mut moved_to, other, group);
                group_of_chunk.insert(*chunk, group);
            }
        }
        let mut groups: Vec<_> = members.into_iter().filter(|group| !group.is_empty()).collect();
        for group in &mut groups {
            group.sort_unstable();
        }
        groups.sort();
        groups
    }
}

impl PlacedShard {
    fn of(node: &Node<'_>, class: &str, shard: &ShardFile) -> Result<Self> {
        let folder = class.to_lowercase();
        let is_objects = |file: &str| objects_file(&folder, file).is_some_and(|(owner, _)| owner == shard.name);
        check_layout(class, &folder, shard)?;
        let mut placed = Self {
            name: shard.name.clone(),
            chunks: BTreeSet::new(),
            files: shard.files.iter().filter(|file| is_objects(file)).cloned().collect(),
            sizes: shard.big_files_chunk.iter().map(|(file, big)| (file.clone(), big.size)).collect(),
            base_files: Vec::new(),
        };
        placed.sizes.retain(|file, _| is_objects(file));
        for (base, files) in &shard.incremental_backup_info.files_per_backup {
            let files: Vec<_> = files.iter().filter(|file| is_objects(&file.file)).collect();
            if files.is_empty() {
                continue;
            }
            let folder = base_folder(node, base)?;
            for file in files {
                check_chunk_keys(node, file)?;
                placed.base_files.push((folder.clone(), file.clone()));
            }
        }
        Ok(placed)
    }
}

/// Where the members of a group went in the end.
fn last_of(moved_to: &[usize], mut group: usize) -> usize {
    while let Some(next) = moved_to.get(group).copied().filter(|next| *next != group) {
        group = next;
    }
    group
}

/// Moves the members of the smaller group into the larger one, and says which that is.
fn join(members: &mut [Vec<&str>], moved_to: &mut [usize], left: usize, right: usize) -> usize {
    let length = |members: &[Vec<&str>], group: usize| members.get(group).map_or(0, Vec::len);
    if left == right {
        return left;
    }
    let (from, to) = if length(members, left) < length(members, right) { (left, right) } else { (right, left) };
    let mut moved = members.get_mut(from).map(std::mem::take).unwrap_or_default();
    if let (Some(target), Some(mark)) = (members.get_mut(to), moved_to.get_mut(from)) {
        target.append(&mut moved);
        *mark = to;
    }
    to
}

/// Before 1.23 the folder of a shard was `<class>_<shard>_lsm`: refused, since no such backup was there to try it on.
fn check_layout(class: &str, folder: &str, shard: &ShardFile) -> Result<()> {
    let old = format!("{folder}_{}_", shard.name);
    match shard.files.iter().find(|file| file.starts_with(&old)) {
        Some(file) => {
            let (class, shard) = (class.to_owned(), shard.name.clone());
            Err(NativeError::OldLayout { class, shard, file: file.clone() })
        }
        None => Ok(()),
    }
}

fn check_chunk_keys(node: &Node<'_>, file: &BaseFile) -> Result<()> {
    let is_plain = |key: &str| key.split('/').all(is_component);
    match file.chunk_keys.iter().find(|key| !is_plain(key)) {
        Some(key) => {
            let reason = format!("{key:?} cannot be the key of a chunk");
            Err(NativeError::descriptor(&node.descriptor, reason))
        }
        None => Ok(()),
    }
}

/// The folder of the same node in a base backup, which stands beside this one.
fn base_folder(node: &Node<'_>, base: &str) -> Result<PathBuf> {
    if !is_component(base) {
        let reason = format!("{base:?} cannot be the id of a base backup");
        return Err(NativeError::descriptor(&node.descriptor, reason));
    }
    let beside = match node.backup.parent() {
        Some(parent) if node.backup.file_name().is_some() => parent.to_owned(),
        _ => node.backup.join(".."),
    };
    let path = beside.join(base).join(GLOBAL);
    let Some((common, _)) = descriptor::read::<GlobalFile>(&path)? else {
        return Err(NativeError::NoBase { id: node.id.to_owned(), base: base.to_owned(), path });
    };
    common.check(&path)?;
    Ok(beside.join(base).join(node.name))
}

//! Native backups of Weaviate, read from their files without a server.
//!
//! A backup is a folder `<path>/<id>` as the backends of the server write it:
//!
//! ```text
//! backup_config.json          status, versions and nodes of the whole
//! <node>/backup.json          the classes of a node: schema, sharding state, aliases, shards and their files
//! <node>/<Class>/chunk-<n>    files of some shards: tar, plain or in gzip or zstd
//! ```
//!
//! [`Backup::open`] reads the descriptors. [`Backup::extract`] unpacks the files that hold objects, of some shards, and
//! [`Extracted::objects`] merges them: a shard is a log-structured tree of segments and of write-ahead logs, where the newest
//! entry of an id counts. The vectors are those that were given, at full precision; indexes are not read.
//!
//! The formats are those of the server's source (Go module `github.com/weaviate/weaviate`, v1.27 to v1.39:
//! `entities/backup`, `usecases/backup`, `adapters/repos/db/lsmkv`, `entities/storobj`). Every length of a file is checked
//! against what is there before it is used, and damage is an error with the file and the place.
//!
//! Not supported: backups of format 1, of servers before 1.23, and offloaded tenants, whose files are elsewhere. Replicas of
//! a shard on several nodes are read one node at a time. Roles and users are not read.

mod chunk;
mod descriptor;
mod error;
mod extract;
mod merge;
mod object;
mod objects_file;
mod place;
mod segment;
mod tar;
#[cfg(test)]
mod tests;
mod wal;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub use self::chunk::Compression;
use self::descriptor::{AliasEntry, ClassFile, Common, GlobalFile, NODE, NodeFile, NodeStatus, ShardingState};
pub use self::error::{NativeError, Result};
pub use self::extract::Extracted;
#[cfg(test)]
pub use self::merge::Objects;
pub use self::object::Object;
use self::place::{Node, Place, PlacedShard};

/// A backup, its descriptors read and checked.
#[derive(Debug)]
#[non_exhaustive]
pub struct Backup {
    /// The id, which is the name that its folder had.
    pub id: String,
    /// The version of the server that made it, such as `1.39.2`.
    pub server_version: String,
    /// When it was begun, RFC 3339. What was written after it may be in it or not.
    pub started_at: String,
    /// When it was finished, RFC 3339.
    pub completed_at: String,
    /// How its chunks are compressed.
    pub compression: Compression,
    /// The id of the backup that it is an increment of.
    pub base: Option<String>,
    /// The nodes that wrote it, sorted.
    pub nodes: Vec<String>,
    /// Its classes, sorted by name.
    pub classes: Vec<Class>,
}

/// A class of a backup.
#[derive(Debug)]
#[non_exhaustive]
pub struct Class {
    /// The name.
    pub name: String,
    /// The definition, JSON as the server stored it, of the form that `GET /v1/schema/{class}` answers.
    pub schema: String,
    /// The sharding state, JSON as the server stored it.
    pub sharding_state: String,
    /// Its aliases, sorted. Servers before 1.32 have none.
    pub aliases: Vec<String>,
    /// Whether the shards are tenants.
    pub tenants: bool,
    /// Its shards or tenants, sorted by name.
    pub shards: Vec<Shard>,
    places: Vec<Place>,
}

/// A shard or tenant of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shard {
    /// The name.
    pub name: String,
    /// The activity status of a tenant, such as HOT, COLD or FROZEN; `None` for a shard.
    pub status: Option<String>,
    /// The nodes that its data was taken from, sorted. None at all for an offloaded tenant, and for an inactive one before
    /// 1.37, which the server left out without a word.
    pub nodes: Vec<String>,
}

/// Shards that should be extracted together.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Group<'a> {
    /// The node that has them all.
    pub node: &'a str,
    /// Their names, sorted.
    pub shards: Vec<&'a str>,
}

impl Backup {
    /// Reads the descriptors of the backup in `folder`, which holds its `backup_config.json`.
    ///
    /// # Errors
    /// There is no backup, it is not a finished one, or of a format that is not known; a descriptor cannot be understood; it
    /// is an increment, and a backup that it builds on does not stand beside it.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(descriptor::GLOBAL);
        let Some((common, global)) = descriptor::read::<GlobalFile>(&path)? else {
            let folder = folder.to_owned();
            let is_single = folder.join(NODE).is_file();
            return Err(if is_single {
                NativeError::SingleNode { folder }
            } else {
                NativeError::NotABackup { folder }
            });
        };
        common.check(&path)?;
        let compression = Compression::named(&path, common.compression_type.as_deref())?;
        let mut classes = BTreeMap::new();
        for (name, status) in &global.nodes {
            descriptor::successful(&path, &status.status, &status.error)?;
            if !descriptor::is_component(name) {
                return Err(NativeError::descriptor(&path, format!("{name:?} cannot be the name of a node")));
            }
            let descriptor = folder.join(name).join(NODE);
            let node = Node { backup: folder, id: &global.id, name, descriptor, compression };
            add_node(node, status, &mut classes)?;
        }
        Ok(Self {
            id: global.id,
            server_version: common.server_version,
            started_at: common.started_at,
            completed_at: common.completed_at,
            compression,
            base: common.base_backup_id.filter(|base| !base.is_empty()),
            nodes: global.nodes.into_keys().collect(),
            classes: classes.into_values().collect(),
        })
    }

    /// The class of this name.
    ///
    /// # Errors
    /// The backup has none.
    pub fn class(&self, name: &str) -> Result<&Class> {
        self.classes
            .iter()
            .find(|class| class.name == name)
            .ok_or_else(|| NativeError::NoClass { class: name.to_owned() })
    }

    /// Unpacks what holds the objects of `shards` into a fresh folder inside `work`, which must exist; the folder needs as much
    /// room as these objects and goes with what is returned.
    ///
    /// All shards are taken from `node`, or from the first node that has the first of them. Shards that share a chunk should
    /// be extracted together ([`Class::groups`]), since a chunk is unpacked as a whole.
    ///
    /// # Errors
    /// The class or a shard is not in the backup or not on that node; a chunk cannot be read, is damaged or is not what the
    /// descriptor says; the folder cannot be written.
    pub fn extract(&self, class: &str, shards: &[&str], node: Option<&str>, work: &Path) -> Result<Extracted> {
        let class = self.class(class)?;
        let place = class.place(node, shards.first().copied())?;
        let shards: Vec<_> = shards.iter().map(|shard| class.placed(place, shard)).collect::<Result<_>>()?;
        extract::extract(&class.name, place, &shards, work)
    }

    /// The live objects of one shard, in the order of their ids: [`Self::extract`] and [`Extracted::objects`] at once.
    ///
    /// # Errors
    /// Those of the two.
    #[cfg(test)]
    pub fn objects(&self, class: &str, shard: &str, work: &Path) -> Result<Objects> {
        self.extract(class, &[shard], None, work)?.objects(shard)
    }
}

impl Class {
    /// All shards whose data is in the backup, each once, in groups that share chunks: what [`Backup::extract`] should be given
    /// at once, so that no chunk is unpacked twice. 1.27 puts many small tenants into one chunk; 1.39 gives each shard chunks of
    /// its own. Of a shard with replicas, the first node is taken. Shards without data ([`Shard::nodes`]) are not among them.
    #[must_use]
    pub fn groups(&self) -> Vec<Group<'_>> {
        let is_first = |shard: &str, node: &str| {
            let at = self.shards.binary_search_by(|known| known.name.as_str().cmp(shard));
            at.is_ok_and(|at| {
                self.shards.get(at).and_then(|shard| shard.nodes.first()).is_some_and(|first| first == node)
            })
        };
        let mut groups = Vec::new();
        for place in &self.places {
            for mut shards in place.groups() {
                shards.retain(|shard| is_first(shard, &place.node));
                if !shards.is_empty() {
                    groups.push(Group { node: &place.node, shards });
                }
            }
        }
        groups
    }

    /// The node to read, and what it has.
    fn place(&self, node: Option<&str>, shard: Option<&str>) -> Result<&Place> {
        let has = |place: &Place| shard.is_none_or(|shard| place.shards.contains_key(shard));
        self.places
            .iter()
            .find(|place| node.map_or_else(|| has(place), |node| place.node == node))
            .ok_or_else(|| self.no_data(shard.unwrap_or_default(), node))
    }

    fn placed<'a>(&self, place: &'a Place, shard: &str) -> Result<&'a PlacedShard> {
        place.shards.get(shard).ok_or_else(|| self.no_data(shard, Some(&place.node)))
    }

    /// Why a shard cannot be read.
    fn no_data(&self, shard: &str, node: Option<&str>) -> NativeError {
        let (class, name) = (self.name.clone(), shard.to_owned());
        let Some(known) = self.shards.iter().find(|known| known.name == shard) else {
            return NativeError::NoShard { class, shard: name };
        };
        let place = match (&known.status, node) {
            (_, Some(node)) if !known.nodes.is_empty() => format!(" on node {node:?}"),
            (Some(status), _) => format!(" (status {status})"),
            _ => String::new(),
        };
        NativeError::NoData { class, shard: name, place }
    }

    /// Adds what a node has of it.
    fn add(&mut self, place: Place) {
        for name in place.shards.keys() {
            let known = self.shards.binary_search_by(|shard| shard.name.cmp(name));
            let at = known.unwrap_or_else(|at| {
                self.shards.insert(at, Shard { name: name.clone(), status: None, nodes: Vec::new() });
                at
            });
            if let Some(shard) = self.shards.get_mut(at) {
                shard.nodes.push(place.node.clone());
            }
        }
        self.places.push(place);
    }
}

/// Adds the classes of a node.
fn add_node(mut node: Node<'_>, status: &NodeStatus, classes: &mut BTreeMap<String, Class>) -> Result<()> {
    let Some((common, file)) = descriptor::read::<NodeFile>(&node.descriptor)? else {
        if status.classes.is_empty() {
            // A node without classes may have nothing to say.
            return Ok(());
        }
        return Err(NativeError::descriptor(&node.descriptor, "it is not there"));
    };
    check_node(&node.descriptor, &common, status, &file)?;
    if let Some(compression) = &common.compression_type {
        node.compression = Compression::named(&node.descriptor, Some(compression))?;
    }
    for class in &file.classes {
        let place = Place::of(&node, class)?;
        if !classes.contains_key(&class.name) {
            classes.insert(class.name.clone(), new_class(&node.descriptor, class)?);
        }
        if let Some(known) = classes.get_mut(&class.name) {
            known.add(place);
        }
    }
    Ok(())
}

fn check_node(path: &Path, common: &Common, status: &NodeStatus, file: &NodeFile) -> Result<()> {
    common.check(path)?;
    let has = |name: &str| file.classes.iter().any(|class| class.name == name);
    match status.classes.iter().find(|class| !has(class)) {
        Some(class) => Err(NativeError::descriptor(path, format!("class {class:?} is missing"))),
        None => Ok(()),
    }
}

/// A class as its first node describes it, without data.
fn new_class(path: &Path, class: &ClassFile) -> Result<Class> {
    let name = &class.name;
    let wrong = |field: &str, error: &dyn std::fmt::Display| {
        NativeError::descriptor(path, format!("{field} of class {name:?}: {error}"))
    };
    let text = |field: &str, base64: Option<&str>| descriptor::embedded(path, field, name, base64);
    let needed = |field: &str, text: Option<String>| text.ok_or_else(|| wrong(field, &"it is not there"));
    let schema = needed("schema", text("schema", class.schema.as_deref())?)?;
    let sharding_state = needed("shardingState", text("shardingState", class.sharding_state.as_deref())?)?;
    let state: ShardingState = serde_json::from_str(&sharding_state).map_err(|error| wrong("shardingState", &error))?;
    let aliases = text("aliases", class.aliases.as_deref())?.unwrap_or_else(|| "null".to_owned());
    let aliases: Option<Vec<AliasEntry>> = serde_json::from_str(&aliases).map_err(|error| wrong("aliases", &error))?;
    let aliases: BTreeSet<_> = aliases.unwrap_or_default().into_iter().map(|entry| entry.alias).collect();
    let shards = state.physical.into_iter().map(|(name, physical)| {
        let status = physical.status.filter(|status| !status.is_empty());
        Shard { name, status, nodes: Vec::new() }
    });
    Ok(Class {
        name: name.clone(),
        schema,
        sharding_state,
        aliases: aliases.into_iter().collect(),
        tenants: state.partitioning_enabled,
        shards: shards.collect(),
        places: Vec::new(),
    })
}

//! The addresses of a cluster: requests go round over those that answer.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::Method;
use restow_core::{EngineError, ExitClass, Result};
use serde::Deserialize;
use tonic::transport::Channel;

use super::super::address::Address;
use super::rest::parsed;
use super::{Client, Fault, auth};

/// How long an address that was away is left alone, while another one answers.
const PAUSE: Duration = Duration::from_secs(5);

/// One address.
pub struct Node {
    /// Where it is.
    pub address: Address,
    /// Its gRPC.
    pub channel: Channel,
    away_until: Mutex<Option<Instant>>,
}

impl Node {
    /// An address of which nothing is known yet.
    pub fn new(address: Address, channel: Channel) -> Self {
        Self { address, channel, away_until: Mutex::default() }
    }

    /// Notes what became of a request there.
    pub fn met<T>(&self, outcome: &Result<T, Fault>) {
        let away = matches!(outcome, Err(Fault::Away { .. })).then(|| Instant::now() + PAUSE);
        *self.away_until.lock().unwrap_or_else(PoisonError::into_inner) = away;
    }

    fn is_away(&self, now: Instant) -> bool {
        self.away_until.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| now < until)
    }
}

/// All addresses of a connection that are used.
pub struct Cluster {
    nodes: Vec<Node>,
    next: AtomicUsize,
    /// Addresses that were away when the connection was made: nobody has seen whose they are.
    left_out: Vec<String>,
}

impl Cluster {
    /// These addresses.
    pub fn new(nodes: Vec<Node>) -> Self {
        Self { nodes, next: AtomicUsize::new(0), left_out: Vec::new() }
    }

    /// Every address in the order in which they are to be asked: with `in_turn` each request begins with the next one, else all
    /// begin with the first one. Those that were away a moment ago come last.
    pub fn order(&self, in_turn: bool) -> Vec<&Node> {
        let first = if in_turn && self.is_several() { self.next.fetch_add(1, Relaxed) % self.nodes.len() } else { 0 };
        let mut order: Vec<&Node> = self.nodes.iter().cycle().skip(first).take(self.nodes.len()).collect();
        let now = Instant::now();
        order.sort_by_key(|node| node.is_away(now));
        order
    }

    /// Without the addresses that are left out.
    pub fn only(self, same: Same) -> Self {
        let nodes = self.nodes.into_iter().enumerate().filter(|(index, _)| same.kept.contains(index));
        Self { left_out: same.left_out, ..Self::new(nodes.map(|(_, node)| node).collect()) }
    }

    /// Whether there is more than one address.
    pub fn is_several(&self) -> bool {
        self.nodes.len() > 1
    }

    /// The addresses that are left out, each with the reason.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }
}

/// The addresses that answer, all of one cluster.
pub struct Same {
    kept: Vec<usize>,
    left_out: Vec<String>,
}

/// What tells a cluster from another one.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    nodes: BTreeSet<String>,
    /// The members by name and internal address, where the key may ask for them.
    members: Option<BTreeSet<String>>,
    classes: BTreeSet<String>,
}

impl Identity {
    /// Whether two addresses lead to the same cluster. Node names alone do not tell: a cluster of one is often called `node1`.
    fn is_same(&self, other: &Self) -> bool {
        self.nodes == other.nodes
            && match (&self.members, &other.members) {
                (Some(members), Some(others)) => members == others,
                _ => self.classes == other.classes,
            }
    }

    fn shown(&self) -> String {
        let list = |set: &BTreeSet<String>| set.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        match &self.members {
            Some(members) => format!("{} (members {})", list(&self.nodes), list(members)),
            None => list(&self.nodes),
        }
    }
}

#[derive(Deserialize)]
struct Nodes {
    #[serde(default)]
    nodes: Option<Vec<Name>>,
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    statistics: Option<Vec<Statistic>>,
}

#[derive(Deserialize)]
struct Statistic {
    #[serde(default)]
    raft: Option<Raft>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raft {
    #[serde(default)]
    latest_configuration: Option<Vec<Member>>,
}

#[derive(Deserialize)]
struct Member {
    id: String,
    address: String,
}

#[derive(Deserialize)]
struct Schema {
    #[serde(default)]
    classes: Option<Vec<Class>>,
}

#[derive(Deserialize)]
struct Class {
    class: String,
}

impl Client {
    /// Looks whose every address is, and refuses any that is not of the cluster of the first one.
    pub(super) async fn one_cluster(&self) -> Result<Same> {
        let (mut seen, mut left_out) = (Vec::new(), Vec::new());
        for (index, node) in self.inner.cluster.nodes.iter().enumerate() {
            match self.identity(node).await {
                Ok(identity) => seen.push((index, node, identity)),
                Err(Fault::Away { message, .. }) => left_out.push(message),
                Err(Fault::Denied(message)) if message.contains("status 401") => {
                    let bearer = self.inner.bearer.as_ref().map(|bearer| bearer.as_str());
                    return Err(auth::refused(Fault::Denied(message), bearer, &self.name()));
                }
                Err(Fault::Denied(message)) => {
                    let what = format!("{}: nobody can tell whether they are of one cluster: {message}", self.name());
                    return Err(EngineError::new(ExitClass::Refused, what).with_hint(
                        "check `api_key`, give its user the right read_nodes, or name one address only; nothing was changed",
                    ));
                }
                Err(fault) => {
                    return Err(fault.about(format!("{}: asking {} for its nodes", self.name(), node.address.rest)));
                }
            }
        }
        let Some((_, first, identity)) = seen.first() else {
            let message = format!("no address answers: {}", left_out.join("; "));
            return Err(Fault::Away { message, after: None }.about(format!("{}: connecting", self.name())));
        };
        if let Some((_, other, found)) = seen.iter().find(|(_, _, found)| !found.is_same(identity)) {
            let message = format!(
                "{} and {} are not of the same cluster: the nodes of the one are {}, those of the other {}",
                first.address.rest,
                other.address.rest,
                identity.shown(),
                found.shown()
            );
            return Err(EngineError::new(ExitClass::Refused, message)
                .with_hint("name only addresses of one cluster in `url`; nothing was changed"));
        }
        Ok(Same { kept: seen.iter().map(|(index, ..)| *index).collect(), left_out })
    }

    async fn identity(&self, node: &Node) -> Result<Identity, Fault> {
        let get = |path: &'static str| self.once(node, Method::GET, path, None);
        get("/.well-known/ready").await?;
        let nodes: Nodes = parsed("/nodes", &get("/nodes").await?)?;
        let members = match get("/cluster/statistics").await {
            Ok(body) => {
                let found: Statistics = parsed("/cluster/statistics", &body)?;
                let raft = found.statistics.into_iter().flatten().filter_map(|one| one.raft);
                let members = raft.flat_map(|raft| raft.latest_configuration.unwrap_or_default());
                Some(members.map(|member| format!("{} {}", member.id, member.address)).collect::<BTreeSet<_>>())
            }
            Err(Fault::Missing(_) | Fault::Denied(_) | Fault::Refused(_)) => None,
            Err(fault) => return Err(fault),
        };
        let schema: Schema = parsed("/schema", &get("/schema").await?)?;
        Ok(Identity {
            nodes: nodes.nodes.into_iter().flatten().map(|node| node.name).collect(),
            members: members.filter(|members| !members.is_empty()),
            classes: schema.classes.into_iter().flatten().map(|class| class.class).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use tonic::transport::Endpoint;

    use super::*;

    fn cluster(names: &[&str]) -> Cluster {
        let node = |name: &&str| {
            let address = Address { rest: (*name).to_owned(), grpc: (*name).to_owned() };
            Node::new(address, Endpoint::from_static("http://127.0.0.1:1").connect_lazy())
        };
        Cluster::new(names.iter().map(node).collect())
    }

    fn names(cluster: &Cluster, in_turn: bool) -> Vec<&str> {
        cluster.order(in_turn).into_iter().map(|node| node.address.rest.as_str()).collect()
    }

    #[tokio::test]
    async fn requests_go_round_and_leave_out_who_is_away() {
        let cluster = cluster(&["a", "b", "c"]);
        assert_eq!(names(&cluster, true), ["a", "b", "c"]);
        assert_eq!(names(&cluster, true), ["b", "c", "a"]);
        assert_eq!(names(&cluster, false), ["a", "b", "c"]);
        let away: Result<(), Fault> = Err(Fault::Away { message: String::new(), after: None });
        let first = cluster.order(false).into_iter().next().expect("a node");
        first.met(&away);
        assert_eq!(names(&cluster, false), ["b", "c", "a"]);
        assert_eq!(names(&cluster, true), ["c", "b", "a"]);
        first.met(&Ok::<(), Fault>(()));
        assert_eq!(names(&cluster, false), ["a", "b", "c"]);
        // A refusal is an answer.
        first.met(&Err::<(), Fault>(Fault::Refused(String::new())));
        assert_eq!(names(&cluster, false), ["a", "b", "c"]);
    }

    #[test]
    fn clusters_of_one_have_the_same_name_and_other_members() {
        let of = |node: &str, member: Option<&str>, class: &str| Identity {
            nodes: BTreeSet::from([node.to_owned()]),
            members: member.map(|member| BTreeSet::from([member.to_owned()])),
            classes: BTreeSet::from([class.to_owned()]),
        };
        let one = of("node1", Some("node1 h:1"), "A");
        assert!(one.is_same(&of("node1", Some("node1 h:1"), "B")));
        assert!(!one.is_same(&of("node1", Some("node1 h:2"), "A")));
        assert!(!one.is_same(&of("node2", Some("node1 h:1"), "A")));
        assert!(one.is_same(&of("node1", None, "A")) && !one.is_same(&of("node1", None, "B")));
    }
}

//! A packet filter on the node, between pods and the API server: what it swallows nobody is told of.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// Words that lead into the node's network.
const WITHIN: [&str; 1] = ["--net=/run/netns/nexus"];

/// The chain of this filter.
const CHAIN: &str = "NEXUS-E2E";

/// The filter. Dropping it lets all through again.
#[derive(Debug)]
pub(super) struct Filter;

impl Filter {
    /// Swallows what the connections carry that pods have open to the API server. Those that come are not concerned.
    pub(super) fn of_open(api: SocketAddr, pods: &[IpAddr]) -> anyhow::Result<Self> {
        let filter = Self::new()?;
        let open = open(api)?;
        for pod in pods {
            let mut ports = open.iter().filter(|peer| peer.ip() == *pod).map(SocketAddr::port).peekable();
            ensure!(ports.peek().is_some(), "{pod} has no connection to the API server");
            for port in ports {
                filter.swallow(api, *pod, Some(port))?;
            }
        }
        Ok(filter)
    }

    /// Swallows all between a pod and the API server.
    pub(super) fn of_all(api: SocketAddr, pod: IpAddr) -> anyhow::Result<Self> {
        let filter = Self::new()?;
        filter.swallow(api, pod, None)?;
        Ok(filter)
    }

    fn new() -> anyhow::Result<Self> {
        // One of a run that was killed may stand there.
        drop(Self);
        iptables(&["-N", CHAIN])?;
        let filter = Self;
        for hook in ["INPUT", "OUTPUT"] {
            iptables(&["-I", hook, "-j", CHAIN])?;
        }
        Ok(filter)
    }

    fn swallow(&self, api: SocketAddr, pod: IpAddr, port: Option<u16>) -> anyhow::Result<()> {
        let (api, pod) = (api.port().to_string(), pod.to_string());
        let port = port.map_or("0:65535".to_owned(), |port| port.to_string());
        iptables(&["-A", CHAIN, "-p", "tcp", "-s", &pod, "--sport", &port, "--dport", &api, "-j", "DROP"])?;
        iptables(&["-A", CHAIN, "-p", "tcp", "-d", &pod, "--dport", &port, "--sport", &api, "-j", "DROP"])?;
        Ok(())
    }

    /// How many packets it has swallowed.
    pub(super) fn swallowed(&self) -> anyhow::Result<u64> {
        let rules = iptables(&["-L", CHAIN, "-nvx"])?;
        let count = |rule: &str| rule.split_whitespace().next()?.parse::<u64>().ok();
        Ok(rules.lines().filter_map(count).sum())
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        for words in [
            &["-D", "INPUT", "-j", CHAIN][..],
            &["-D", "OUTPUT", "-j", CHAIN],
            &["-F", CHAIN],
            &["-X", CHAIN],
        ] {
            // What is not there needs not go.
            let _ = iptables(words);
        }
    }
}

/// Who has a connection to the API server, as that has it.
fn open(api: SocketAddr) -> anyhow::Result<Vec<SocketAddr>> {
    let port = format!("sport = :{}", api.port());
    let told = inside("ss", &["-Htn", "state", "established", &port])?;
    Ok(peers(&told))
}

/// The other ends of connections, as `ss` tells them.
fn peers(told: &str) -> Vec<SocketAddr> {
    // Of a socket for both families the address is mapped: [::ffff:10.44.0.7]:40000.
    let peer =
        |line: &str| line.split_whitespace().nth(3)?.replace("[::ffff:", "").replace(']', "").parse().ok();
    told.lines().filter_map(peer).collect()
}

fn iptables(words: &[&str]) -> anyhow::Result<String> {
    inside("iptables", &[&["-w"], words].concat())
}

/// Runs a program in the node's network.
fn inside(program: &str, words: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("nsenter").args(WITHIN).arg(program).args(words).output();
    let output = output.with_context(|| format!("cannot run `{program}` in the node's network"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{program} {}` fails: {}", words.join(" "), said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_ends_of_connections_are_read() {
        let told =
            "0 0 10.46.0.2:26443 10.44.0.7:40000\n0 0 [::ffff:10.46.0.2]:26443 [::ffff:10.44.0.8]:40001\n";
        let wanted: Vec<SocketAddr> =
            ["10.44.0.7:40000", "10.44.0.8:40001"].map(|peer| peer.parse().unwrap()).into();
        assert_eq!(peers(told), wanted);
    }
}

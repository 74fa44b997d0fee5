//! What the gateway is configured with: a snapshot per tenant, indexed for the two questions that are asked of
//! it: who is this agent, and whom does this event concern.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use nexus_core::id::{AgentId, InboxId, TenantKey};
use nexus_core::route::RouteTable;
use nexus_core::snapshot::{Agent, GatewaySnapshot};

/// The snapshots of all tenants.
pub type Snapshots = BTreeMap<TenantKey, Arc<GatewaySnapshot>>;

/// All tenants as they stand. It is replaced as a whole; what did not change is shared with the former one.
#[derive(Debug, Default)]
pub struct GatewayConfig {
    tenants: BTreeMap<TenantKey, Arc<TenantConfig>>,
    /// Where each agent stands: ids are unique across tenants.
    agents: HashMap<AgentId, (TenantKey, String)>,
}

/// One tenant as it stands.
#[derive(Debug)]
pub struct TenantConfig {
    snapshot: Arc<GatewaySnapshot>,
    table: RouteTable,
}

/// An agent as it stands.
#[derive(Debug, Clone, Copy)]
pub struct Profile<'a> {
    /// Its tenant.
    pub tenant: &'a TenantKey,
    /// Its name.
    pub name: &'a str,
    /// What is known of it.
    pub agent: &'a Agent,
    /// Its tenant's snapshot.
    pub snapshot: &'a GatewaySnapshot,
}

impl GatewayConfig {
    /// Indexes snapshots.
    #[must_use]
    pub fn new(snapshots: Snapshots) -> Self {
        Self::default().next(snapshots)
    }

    /// The configuration that follows this one. Tenants whose snapshot is the same keep their index.
    #[must_use]
    pub fn next(&self, snapshots: Snapshots) -> Self {
        let mut tenants = BTreeMap::new();
        let mut agents = HashMap::new();
        for (tenant, snapshot) in snapshots {
            for (name, agent) in &snapshot.agents {
                agents.insert(agent.id, (tenant.clone(), name.clone()));
            }
            let kept = self.tenants.get(&tenant).filter(|old| old.snapshot == snapshot);
            let config = kept.map_or_else(|| Arc::new(TenantConfig::new(snapshot)), Arc::clone);
            tenants.insert(tenant, config);
        }
        Self { tenants, agents }
    }

    /// A tenant.
    #[must_use]
    pub fn tenant(&self, tenant: &TenantKey) -> Option<&Arc<TenantConfig>> {
        self.tenants.get(tenant)
    }

    /// The tenants, by name.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantKey> {
        self.tenants.keys()
    }

    /// The agent with this id.
    #[must_use]
    pub fn agent(&self, id: AgentId) -> Option<Profile<'_>> {
        let (tenant, name) = self.agents.get(&id)?;
        let snapshot: &GatewaySnapshot = &self.tenants.get(tenant)?.snapshot;
        let agent = snapshot.agents.get(name)?;
        Some(Profile { tenant, name, agent, snapshot })
    }
}

impl TenantConfig {
    fn new(snapshot: Arc<GatewaySnapshot>) -> Self {
        let table = RouteTable::build(&snapshot);
        Self { snapshot, table }
    }

    /// The snapshot.
    #[must_use]
    pub fn snapshot(&self) -> &GatewaySnapshot {
        &self.snapshot
    }

    /// The snapshot, indexed for routing.
    #[must_use]
    pub fn table(&self) -> &RouteTable {
        &self.table
    }
}

impl Profile<'_> {
    /// The inboxes that the agent draws from: its own, and those it shares with the name of their alias.
    #[must_use]
    pub fn inboxes(&self) -> Vec<(InboxId, Option<String>)> {
        let alias_of = |inbox: InboxId| {
            let aliases = self.snapshot.aliases.iter();
            aliases
                .map(|alias| &alias.name)
                .find(|name| InboxId::of_alias(self.tenant, name) == inbox)
                .cloned()
        };
        let shared = self.agent.shared_inboxes.iter();
        std::iter::once((self.agent.id.inbox(), None))
            .chain(shared.map(|&inbox| (inbox, alias_of(inbox))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use nexus_core::selector::Labels;
    use nexus_core::snapshot::{Alias, Delivery, Heartbeat};

    use super::*;

    fn snapshot(tenant: &TenantKey, name: &str) -> Arc<GatewaySnapshot> {
        let inbox = InboxId::of_alias(tenant, "squad");
        let agent = Agent {
            id: AgentId::of(tenant, name),
            display_name: name.into(),
            role: None,
            owner: None,
            labels: Labels::new(),
            aliases: vec![],
            subscriptions: vec![],
            max_in_flight: 1,
            credential: None,
            shared_inboxes: vec![inbox],
        };
        let alias = Alias {
            name: "Squad".into(),
            handles: BTreeMap::new(),
            members: vec![name.into()],
            delivery: Delivery::Any,
        };
        Arc::new(GatewaySnapshot {
            tenant: tenant.clone(),
            agents: [(name.to_owned(), agent)].into(),
            aliases: vec![alias],
            heartbeat: Heartbeat::default(),
        })
    }

    #[test]
    fn a_tenant_that_did_not_change_keeps_its_index() {
        let (a, b): (TenantKey, TenantKey) = ("a/a".parse().unwrap(), "b/b".parse().unwrap());
        let first =
            GatewayConfig::new([(a.clone(), snapshot(&a, "x")), (b.clone(), snapshot(&b, "x"))].into());
        let second = first.next([(a.clone(), snapshot(&a, "x")), (b.clone(), snapshot(&b, "y"))].into());
        let same = |tenant| Arc::ptr_eq(first.tenant(tenant).unwrap(), second.tenant(tenant).unwrap());
        assert!(same(&a) && !same(&b));
        assert!(second.agent(AgentId::of(&b, "x")).is_none());
        let found = second.agent(AgentId::of(&b, "y")).unwrap();
        assert_eq!((found.tenant, found.name), (&b, "y"));
    }

    #[test]
    fn shared_inboxes_carry_the_name_of_their_alias() {
        let tenant: TenantKey = "a/a".parse().unwrap();
        let config = GatewayConfig::new([(tenant.clone(), snapshot(&tenant, "x"))].into());
        let agent = AgentId::of(&tenant, "x");
        let shared = InboxId::of_alias(&tenant, "squad");
        assert_eq!(
            config.agent(agent).unwrap().inboxes(),
            [(agent.inbox(), None), (shared, Some("Squad".to_owned()))]
        );
    }
}

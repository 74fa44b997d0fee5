//! Which of the living a partition falls to: the highest of a hash of gateway, tenant and partition. So all agree who
//! know the same of who lives, and one that comes or goes moves its own share only.

use nexus_core::id::{GatewayId, TenantKey};
use uuid::Uuid;

/// The gateway that a partition falls to. The hash must be the same in every version: gateways of two versions that
/// ranked differently could each leave a partition to the other.
pub(crate) fn first(living: &[GatewayId], tenant: &TenantKey, partition: u16) -> Option<GatewayId> {
    if let [only] = living {
        return Some(*only);
    }
    let name = format!("{tenant}/{partition}");
    living.iter().copied().max_by_key(|gateway| Uuid::new_v5(&gateway.uuid(), name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn who_comes_takes_a_share_and_moves_nothing_else() {
        let gateways: Vec<_> = (1..=4_u8).map(|n| GatewayId::from_bytes([n; 16])).collect();
        let tenants: Vec<TenantKey> = (0..50).map(|n| format!("acme/t{n}").parse().unwrap()).collect();
        let places = || tenants.iter().flat_map(|tenant| (0..8).map(move |partition| (tenant, partition)));
        let mut shares = HashMap::<_, u32>::new();
        for (tenant, partition) in places() {
            let three = first(&gateways[..3], tenant, partition).unwrap();
            let four = first(&gateways, tenant, partition).unwrap();
            assert!(four == three || four == gateways[3]);
            *shares.entry(four).or_default() += 1;
        }
        // 400 over four.
        assert!(gateways.iter().all(|gateway| shares[gateway] > 60), "{shares:?}");
        assert_eq!(first(&[], &tenants[0], 0), None);
    }

    #[test]
    fn the_order_of_the_living_does_not_matter() {
        let (one, two) = (GatewayId::from_bytes([1; 16]), GatewayId::from_bytes([2; 16]));
        let tenant = "acme/acme".parse().unwrap();
        for partition in 0..8 {
            assert_eq!(first(&[one, two], &tenant, partition), first(&[two, one], &tenant, partition));
        }
    }

    #[test]
    fn the_rank_is_the_same_in_every_version() {
        let gateways: Vec<_> = (1..=4_u8).map(|n| GatewayId::from_bytes([n; 16])).collect();
        let tenant = "acme/acme".parse().unwrap();
        let firsts = (0..8).map(|partition| first(&gateways, &tenant, partition).unwrap().as_bytes()[0]);
        assert_eq!(firsts.collect::<Vec<_>>(), [4, 2, 1, 3, 3, 4, 4, 2]);
    }
}

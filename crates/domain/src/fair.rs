//! Whose turn it is when there is more to do than can be done at once.

/// One who waits to be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting<G, T> {
    /// To whom it belongs.
    pub group: G,
    /// When its group was served last, as a growing number; 0 for never.
    pub group_served: u64,
    /// When it was served last itself.
    pub served: u64,
    /// Who it is.
    pub who: T,
}

/// The order of service: groups take turns, the one that was served least recently first, and so do the members of each
/// group. A group with a thousand members is served no more often than a group with one while both wait.
pub fn order<G: Ord + Copy, T: Ord + Copy>(mut waiting: Vec<Waiting<G, T>>) -> Vec<T> {
    waiting.sort_unstable_by_key(|one| (one.group_served, one.group, one.served, one.who));
    let mut rounds = Vec::with_capacity(waiting.len());
    let (mut round, mut group) = (0_usize, None);
    for one in waiting {
        round = if group == Some(one.group) { round + 1 } else { 0 };
        group = Some(one.group);
        rounds.push((round, one.who));
    }
    // Stable: within a round, the groups keep their order.
    rounds.sort_by_key(|(round, _)| *round);
    rounds.into_iter().map(|(_, who)| who).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn groups_take_turns_and_the_longest_unserved_begins() {
        let of = |group, group_served, served, who| Waiting { group, group_served, served, who };
        let waiting = vec![
            of("many", 9, 7, 1),
            of("many", 9, 3, 2),
            of("many", 9, 0, 3),
            of("one", 8, 8, 4),
            of("new", 0, 0, 5),
        ];
        assert_eq!(order(waiting), [5, 4, 3, 2, 1]);
    }

    proptest! {
        /// Served one at a time, nobody is passed over for longer than it takes to serve each group once for every member
        /// of the own group.
        #[test]
        fn nobody_is_passed_over_for_ever(sizes in prop::collection::vec(1_u32..6, 1..6)) {
            let members: Vec<(usize, u32)> =
                sizes.iter().enumerate().flat_map(|(group, size)| (0..*size).map(move |n| (group, n))).collect();
            let mut served = vec![0_u64; members.len()];
            let mut group_served = vec![0_u64; sizes.len()];
            let most = sizes.iter().max().copied().unwrap_or(1) as usize * sizes.len();
            let mut counts = vec![0_usize; members.len()];
            for now in 1..=(most as u64) {
                let waiting = members.iter().enumerate().map(|(who, (group, _))| Waiting {
                    group: *group,
                    group_served: group_served[*group],
                    served: served[who],
                    who,
                });
                let first = order(waiting.collect())[0];
                served[first] = now;
                group_served[members[first].0] = now;
                counts[first] += 1;
            }
            prop_assert!(counts.iter().all(|count| *count > 0), "{sizes:?}: {counts:?}");
        }
    }
}

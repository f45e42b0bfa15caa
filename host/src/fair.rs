//! Whose turn it is to run where more want to than can: tenants by their weights, and the lanes of each in the order in which
//! they came.
//!
//! Handed who comes, who leaves and how long that one ran; says who goes in. Waking and waiting happen elsewhere. This is
//! start-time fair queueing: each tenant has a time of its own, which passes the slower the more it weighs, and who is
//! furthest behind goes in next.
//! **Invariant:** nobody waits while there is room, and a tenant that had nothing to do has saved nothing up.

use std::collections::VecDeque;
use std::time::Duration;

/// Which tenant, by the order in which they were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(usize);

/// See the module. `L` is what waits.
#[derive(Debug)]
pub struct Fair<L> {
    room: usize,
    tenants: Vec<Tenant<L>>,
    /// The time of the tenant that was let in last.
    now: u64,
    waiting: usize,
    arrivals: u64,
}

#[derive(Debug)]
struct Tenant<L> {
    weight: u64,
    /// Nanoseconds that it ran while others waited, divided by its weight.
    time: u64,
    waiting: VecDeque<(u64, L)>,
    inside: usize,
}

impl<L> Fair<L> {
    /// Makes one for so many at once.
    pub fn new(room: usize) -> Self {
        Self {
            room: room.max(1),
            tenants: Vec::new(),
            now: 0,
            waiting: 0,
            arrivals: 0,
        }
    }

    /// Adds a tenant.
    pub fn add(&mut self, weight: u32) -> Place {
        self.tenants.push(Tenant {
            weight: u64::from(weight.max(1)),
            time: self.now,
            waiting: VecDeque::new(),
            inside: 0,
        });
        Place(self.tenants.len() - 1)
    }

    /// Has a tenant weigh something else from now on.
    pub fn weigh(&mut self, place: Place, weight: u32) {
        if let Some(tenant) = self.tenants.get_mut(place.0) {
            tenant.weight = u64::from(weight.max(1));
        }
    }

    /// Returns whether anybody waits.
    pub fn is_crowded(&self) -> bool {
        self.waiting > 0
    }

    /// Somebody comes who wants to run; returned where there is room at once.
    pub fn come(&mut self, place: Place, lane: L) -> Option<L> {
        let now = self.now;
        let Some(tenant) = self.tenants.get_mut(place.0) else {
            return Some(lane);
        };
        if tenant.inside == 0 && tenant.waiting.is_empty() {
            tenant.time = tenant.time.max(now);
        }
        if self.room > 0 {
            self.room -= 1;
            tenant.inside += 1;
            self.now = now.max(tenant.time);
            return Some(lane);
        }
        self.wait(place, lane);
        None
    }

    /// Somebody leaves who ran for so long, and comes `again` where there is more to do. Returns who goes in instead.
    pub fn leave(&mut self, place: Place, ran: Duration, again: Option<L>) -> Option<L> {
        // Before the next one is chosen, so that a tenant with one lane keeps what it is owed.
        if let Some(lane) = again {
            self.wait(place, lane);
        }
        if let Some(tenant) = self.tenants.get_mut(place.0) {
            tenant.inside = tenant.inside.saturating_sub(1);
            let ran_ns = u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX);
            tenant.time = tenant.time.saturating_add(ran_ns / tenant.weight);
        }
        self.let_in()
    }

    /// Takes out of the queue who has gone.
    pub fn forget(&mut self, place: Place, is_gone: impl Fn(&L) -> bool) {
        if let Some(tenant) = self.tenants.get_mut(place.0) {
            let before = tenant.waiting.len();
            tenant.waiting.retain(|(_, lane)| !is_gone(lane));
            self.waiting -= before - tenant.waiting.len();
        }
    }

    fn wait(&mut self, place: Place, lane: L) {
        if let Some(tenant) = self.tenants.get_mut(place.0) {
            tenant.waiting.push_back((self.arrivals, lane));
            self.arrivals += 1;
            self.waiting += 1;
        }
    }

    /// Fills the room that somebody left.
    fn let_in(&mut self) -> Option<L> {
        let next = self
            .tenants
            .iter_mut()
            .filter_map(|tenant| {
                let (arrival, _) = tenant.waiting.front()?;
                Some(((tenant.time, *arrival), tenant))
            })
            .min_by_key(|(rank, _)| *rank);
        let lane = next.and_then(|(_, tenant)| {
            let (_, lane) = tenant.waiting.pop_front()?;
            tenant.inside += 1;
            self.now = self.now.max(tenant.time);
            Some(lane)
        });
        match &lane {
            Some(_) => self.waiting -= 1,
            None => self.room += 1,
        }
        lane
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SLICE_MS: u64 = 10;

    /// Tenants by weight and lanes; each lane always wants to run, for a slice at a time.
    struct Busy {
        fair: Fair<usize>,
        places: Vec<Place>,
        inside: VecDeque<usize>,
        ran_ms: Vec<u64>,
    }

    impl Busy {
        fn new(room: usize, weights: &[u32]) -> Self {
            let mut fair = Fair::new(room);
            let places = weights.iter().map(|weight| fair.add(*weight)).collect();
            Self {
                fair,
                places,
                inside: VecDeque::new(),
                ran_ms: vec![0; weights.len()],
            }
        }

        fn come(&mut self, tenant: usize, lanes: usize) {
            for _ in 0..lanes {
                let entered = self.fair.come(self.places[tenant], tenant);
                self.inside.extend(entered);
            }
        }

        /// Lets slices pass, of which each is of another length.
        fn run(&mut self, slices: usize) {
            for slice in 0..slices {
                let tenant = self.inside.pop_front().unwrap();
                let ms = SLICE_MS - slice as u64 % 3;
                self.ran_ms[tenant] += ms;
                let next =
                    self.fair
                        .leave(self.places[tenant], Duration::from_millis(ms), Some(tenant));
                self.inside.extend(next);
            }
        }
    }

    proptest! {
        #[test]
        fn who_always_wants_to_run_gets_a_share_by_weight(
            room in 1..4usize,
            weights in proptest::collection::vec((1..6u32, 4..9usize), 2..5),
        ) {
            let just_weights: Vec<u32> = weights.iter().map(|(weight, _)| *weight).collect();
            let mut busy = Busy::new(room, &just_weights);
            for (tenant, (_, lanes)) in weights.iter().enumerate() {
                busy.come(tenant, *lanes);
            }
            busy.run(3000);
            let per_weight: Vec<u64> = weights
                .iter()
                .zip(&busy.ran_ms)
                .map(|((weight, _), ran)| ran / u64::from(*weight))
                .collect();
            let spread = per_weight.iter().max().unwrap() - per_weight.iter().min().unwrap();
            // A slice for each place inside, and one more.
            prop_assert!(spread <= SLICE_MS * (room as u64 + 1), "{:?}", per_weight);
        }

        #[test]
        fn how_many_lanes_a_tenant_has_does_not_count(lanes in 1..200usize) {
            let mut busy = Busy::new(1, &[1, 1]);
            busy.come(0, 1);
            busy.come(1, lanes);
            busy.run(1000);
            prop_assert!(busy.ran_ms[0].abs_diff(busy.ran_ms[1]) <= 2 * SLICE_MS);
        }

        #[test]
        fn who_had_nothing_to_do_has_saved_nothing_up(before in 0..500usize, after in 10..500usize) {
            let mut busy = Busy::new(1, &[1, 1]);
            busy.come(0, 3);
            busy.run(before);
            busy.come(1, 3);
            let was = busy.ran_ms.clone();
            busy.run(after);
            let got: Vec<u64> = busy.ran_ms.iter().zip(&was).map(|(now, was)| now - was).collect();
            prop_assert!(got[0].abs_diff(got[1]) <= 2 * SLICE_MS, "{:?}", got);
        }

        /// Against what is there to be counted: who is inside, and who waits in which order.
        #[test]
        fn nobody_waits_while_there_is_room_and_all_get_in(
            room in 1..4usize,
            events in proptest::collection::vec((0..3usize, 0..4u8, 0..30u64), 1..200),
        ) {
            let mut fair = Fair::new(room);
            let places: Vec<Place> = (1..=3).map(|weight| fair.add(weight)).collect();
            let (mut inside, mut waiting) = (Vec::new(), vec![VecDeque::new(); 3]);
            let entered = |inside: &mut Vec<(usize, u32)>, waiting: &mut Vec<VecDeque<u32>>, lane: Option<(usize, u32)>| {
                if let Some((tenant, number)) = lane {
                    // First come, first served, within a tenant.
                    if let Some(at) = waiting[tenant].iter().position(|it| *it == number) {
                        assert_eq!(at, 0);
                        waiting[tenant].pop_front();
                    }
                    inside.push((tenant, number));
                }
            };
            for (number, (tenant, what, ms)) in events.into_iter().enumerate() {
                let number = u32::try_from(number).unwrap();
                let ran = Duration::from_millis(ms);
                match what {
                    0 | 1 => match fair.come(places[tenant], (tenant, number)) {
                        Some(lane) => entered(&mut inside, &mut waiting, Some(lane)),
                        None => waiting[tenant].push_back(number),
                    },
                    2 => if let Some((tenant, number)) = inside.pop() {
                        waiting[tenant].push_back(number);
                        let next = fair.leave(places[tenant], ran, Some((tenant, number)));
                        entered(&mut inside, &mut waiting, next);
                    },
                    _ => if let Some((tenant, _)) = inside.pop() {
                        let next = fair.leave(places[tenant], ran, None);
                        entered(&mut inside, &mut waiting, next);
                    },
                }
                let left: usize = waiting.iter().map(VecDeque::len).sum();
                prop_assert!(inside.len() <= room);
                prop_assert!(left == 0 || inside.len() == room);
                prop_assert_eq!(fair.is_crowded(), left > 0);
            }
            if let Some(first) = waiting[0].front().copied() {
                fair.forget(places[0], |(_, number)| *number == first);
                waiting[0].pop_front();
            }
            while let Some((tenant, _)) = inside.pop() {
                let next = fair.leave(places[tenant], Duration::ZERO, None);
                entered(&mut inside, &mut waiting, next);
            }
            prop_assert!(waiting.iter().all(VecDeque::is_empty));
        }
    }
}

//! The clients that are measured, and in which order.

use std::fmt;

/// A client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    /// Cyrus' own.
    C,
    /// Several of Cyrus' own at once, by `xargs -P`.
    Xargs,
    /// An older build of ours.
    Before,
    Ours,
}

impl Client {
    /// What every benchmark compares.
    pub(crate) const BOTH: [Client; 2] = [Client::C, Client::Ours];

    const ALL: [Client; 4] = [Client::C, Client::Xargs, Client::Before, Client::Ours];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Client::C => "C",
            Client::Xargs => "xargs",
            Client::Before => "before",
            Client::Ours => "ours",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Client> {
        Client::ALL.into_iter().find(|client| client.name() == name)
    }

    /// The order of the runs in a round of this number: each client has each place equally often, and none always follows
    /// the same one.
    pub(crate) fn order(round: usize, clients: &[Client]) -> Vec<Client> {
        let mut order = clients.to_vec();
        let count = clients.len().max(1);
        order.rotate_left(round % count);
        if (round / count) % 2 == 1 {
            order.reverse();
        }
        order
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_every_place_and_follows_others() {
        for clients in [&Client::BOTH[..], &Client::ALL[..3], &Client::ALL] {
            let count = clients.len();
            let orders: Vec<_> = (0..2 * count).map(|nr| Client::order(nr, clients)).collect();
            for client in clients {
                for place in 0..count {
                    assert_eq!(orders.iter().filter(|order| order[place] == *client).count(), 2);
                }
            }
            assert_eq!(orders[0], clients);
        }
        let orders: Vec<_> = (0..6).map(|nr| Client::order(nr, &Client::ALL[..3])).collect();
        for first in &Client::ALL[..3] {
            for second in Client::ALL[..3].iter().filter(|second| *second != first) {
                let follows =
                    |order: &&Vec<Client>| order.windows(2).any(|w| w == [*first, *second]);
                assert_eq!(orders.iter().filter(follows).count(), 2);
            }
        }
    }
}

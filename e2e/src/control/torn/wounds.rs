//! What may be wrong with a file.

/// One thing that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wound {
    /// Only so many bytes are left.
    Cut(usize),
    /// One bit of this byte is the other.
    Flip(usize),
}

impl Wound {
    /// What is left of a file.
    pub(super) fn of(self, file: &[u8]) -> Vec<u8> {
        match self {
            Self::Cut(end) => file[..end.min(file.len().saturating_sub(1))].to_vec(),
            Self::Flip(at) => {
                let mut file = file.to_vec();
                if let Some(byte) = file.get_mut(at) {
                    *byte ^= 1 << (at % 8);
                }
                file
            }
        }
    }
}

/// All wounds of a file of so many bytes, or so many of them: evenly spread, the edges among them.
pub(super) fn wounds(bytes: usize, most: usize) -> Vec<Wound> {
    let places = |most: usize| {
        let most = most.clamp(2, bytes.max(2));
        (0..most).map(move |at| at * bytes.saturating_sub(1) / (most - 1))
    };
    places(most / 2).map(Wound::Cut).chain(places(most - most / 2).map(Wound::Flip)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_small_file_all_wounds_are_tried_and_of_a_large_one_the_edges() {
        assert_eq!(
            wounds(3, 100),
            [0, 1, 2].map(Wound::Cut).into_iter().chain([0, 1, 2].map(Wound::Flip)).collect::<Vec<_>>()
        );
        let some = wounds(1000, 10);
        assert_eq!(some.len(), 10);
        for wound in [Wound::Cut(0), Wound::Cut(999), Wound::Flip(0), Wound::Flip(999)] {
            assert!(some.contains(&wound), "{wound:?}");
        }
    }

    #[test]
    fn no_wound_leaves_a_file_as_it_was() {
        for wound in wounds(9, 100) {
            assert_ne!(wound.of(b"some text"), b"some text", "{wound:?}");
        }
    }
}

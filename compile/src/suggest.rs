//! The nearest known word to an unknown one, for messages that say what was probably meant.

/// The known word that is nearest to `given`, if one is near enough to have been meant.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Bounded, as the distance costs the product of both lengths.
    let given: String = given.chars().take(64).collect::<String>().to_lowercase();
    let reach = (given.chars().count() / 3).clamp(1, 4);
    known
        .into_iter()
        .map(|word| (strsim::osa_distance(&given, &word.to_lowercase()), word))
        .filter(|(distance, word)| *distance <= reach || holds_the_other(&given, &word.to_lowercase()))
        .min()
        .map(|(_, word)| word)
}

/// Whether one word is part of the other and long enough to mean something.
fn holds_the_other(given: &str, word: &str) -> bool {
    (given.len() >= 4 && word.contains(given)) || (word.len() >= 4 && given.contains(word))
}

/// `; did you mean …?`, or what else to do.
pub(crate) fn remedy<'a>(given: &str, known: impl IntoIterator<Item = &'a str>, otherwise: &str) -> String {
    match nearest(given, known) {
        Some(word) => format!("did you mean `{word}`?"),
        None => otherwise.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood_and_another_word_is_not() {
        let known = ["NewWorkItem", "NewComment", "CodePushed"];
        assert_eq!(nearest("newworkitem", known), Some("NewWorkItem"));
        assert_eq!(nearest("NewWorkItems", known), Some("NewWorkItem"));
        assert_eq!(nearest("Coment", known), None);
        assert_eq!(nearest("Comment", known), Some("NewComment"));
        assert_eq!(nearest("Banana", known), None);
        assert_eq!(nearest("", known), None);
    }
}

//! Reads the end of a token's life from its blocks.

use biscuit_auth::Authorizer;
use biscuit_auth::datalog::SymbolTable;
use biscuit_auth::format::schema::{Check, Op, Rule, SnapshotBlock, Term, check, op, op_binary, term};
use jiff::Timestamp;

use super::TokenError;

/// The earliest end that the blocks set. Refuses a block that holds anything but the canonical time check,
/// save the facts of the first block, which we have signed ourselves.
pub(super) fn expiry(authorizer: &Authorizer) -> Result<Timestamp, TokenError> {
    // The snapshot is the one public view of blocks as data; their printed form would have to be parsed again.
    let snapshot = authorizer.snapshot().map_err(|_| TokenError::Malformed)?;
    let mut earliest: Option<u64> = None;
    for (index, block) in snapshot.world.blocks.iter().enumerate() {
        let end =
            block_end(block, index == 0).map_err(|what| TokenError::Attenuation { block: index, what })?;
        if index == 0 && end.is_none() {
            return Err(TokenError::Incomplete);
        }
        earliest = earliest.into_iter().chain(end).min();
    }
    let seconds = earliest.ok_or(TokenError::Incomplete)?;
    // A date beyond the calendar is no limit of its own; the first block has a near one, so this is not met.
    Ok(i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .unwrap_or(Timestamp::MAX))
}

/// The earliest end that one block sets, or what it holds that it may not.
fn block_end(block: &SnapshotBlock, authority: bool) -> Result<Option<u64>, &'static str> {
    if block.external_key.is_some() {
        return Err("a third party's signature");
    }
    if !authority && !block.facts.is_empty() {
        return Err("a fact");
    }
    if !block.rules.is_empty() {
        return Err("a rule");
    }
    if !block.scope.is_empty() {
        return Err("a `trusting` clause");
    }
    let mut earliest = None;
    for check in &block.checks {
        let end = check_end(check).ok_or("a check of another form")?;
        earliest = Some(earliest.map_or(end, |other: u64| other.min(end)));
    }
    Ok(earliest)
}

/// The end that a check sets, if it is `check if time($t), $t <= date` or the same with `<`.
fn check_end(check: &Check) -> Option<u64> {
    let [query] = check.queries.as_slice() else {
        return None;
    };
    let one = check.kind.is_none_or(|kind| kind == check::Kind::One as i32);
    (one && query.scope.is_empty()).then(|| query_end(query)).flatten()
}

fn query_end(query: &Rule) -> Option<u64> {
    let [predicate] = query.body.as_slice() else {
        return None;
    };
    let time = SymbolTable::new().insert("time");
    let [Term { content: Some(term::Content::Variable(bound)) }] = predicate.terms.as_slice() else {
        return None;
    };
    let [expression] = query.expressions.as_slice() else {
        return None;
    };
    let [left, right, operator] = expression.ops.as_slice() else {
        return None;
    };
    let compared = matches!(value(left)?, term::Content::Variable(variable) if variable == bound);
    let operator = match &operator.content {
        Some(op::Content::Binary(binary)) => binary.kind,
        _ => return None,
    };
    let ordered =
        operator == op_binary::Kind::LessOrEqual as i32 || operator == op_binary::Kind::LessThan as i32;
    match value(right)? {
        term::Content::Date(date) if predicate.name == time && compared && ordered => Some(*date),
        _ => None,
    }
}

fn value(op: &Op) -> Option<&term::Content> {
    match &op.content {
        Some(op::Content::Value(term)) => term.content.as_ref(),
        _ => None,
    }
}

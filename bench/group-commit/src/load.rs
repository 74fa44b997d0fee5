//! What is written: events as a webhook leaves them, and the keys of every index.

/// A delivery as a client hands it over; the writer gives it its sequence number.
pub struct Event {
    /// Source and the provider's delivery identity, 57 bytes, in random order as UUIDs are.
    pub delivery: Vec<u8>,
    /// The normalized event, compressible text of about 2 KB.
    pub json: Vec<u8>,
    /// The compressed raw body, incompressible.
    pub body: Vec<u8>,
}

/// One atomic step of a log. `routes` and `acks` name events by sequence number.
#[derive(Default)]
pub struct Batch<'a> {
    pub first: u64,
    pub appends: &'a [Event],
    pub routes: &'a [u64],
    pub acks: &'a [u64],
}

const WORDS: &[u8; 64] = b"the task agent review of a pull request when build fails again. ";

impl Event {
    pub fn new(n: u64, body: usize) -> Self {
        let original = if repeats(n) { n - 25 } else { n };
        let (mut state, tail) = (mix(original), mix(!original));
        let delivery = format!("github/{state:016x}{tail:016x}/issues.opened/0001").into_bytes();
        let mut json = format!(r#"{{"id":"{state:016x}","type":"dev.nexus.NewWorkItem.v1","text":""#).into_bytes();
        let mut raw = Vec::with_capacity(body + 8);
        while json.len() < 2_000 {
            state = mix(state);
            let at = state as usize % 48;
            json.extend_from_slice(&WORDS[at..at + 16]);
        }
        while raw.len() < body {
            state = mix(state);
            raw.extend_from_slice(&state.to_le_bytes());
        }
        raw.truncate(body);
        Self { delivery, json, body: raw }
    }
}

/// Every 50th delivery repeats one that was sent 25 deliveries before it.
pub const fn repeats(n: u64) -> bool {
    n % 50 == 49
}

/// splitmix64: a bijection, so that distinct deliveries have distinct keys.
const fn mix(n: u64) -> u64 {
    let z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The event's id as a time-ordered UUID would be: ordered head, random tail.
pub fn id(seq: u64) -> [u8; 16] {
    (u128::from(seq) << 64 | u128::from(mix(seq))).to_be_bytes()
}

pub fn agents(seq: u64) -> [u8; 2] {
    [(seq % 20) as u8, ((seq + 7) % 20) as u8]
}

pub fn queue_key(seq: u64) -> Vec<u8> {
    [format!("acme/p{}/", seq % 8).as_bytes(), &seq.to_be_bytes()].concat()
}

pub fn inbox_keys(seq: u64) -> [Vec<u8>; 2] {
    agents(seq).map(|agent| [format!("acme/agent-{agent:02}/").as_bytes(), &seq.to_be_bytes()].concat())
}

pub fn decision(seq: u64) -> Vec<u8> {
    format!(r#"{{"event":{seq},"chosen":{:?},"why":"{:w>250}"}}"#, agents(seq), "").into_bytes()
}

use proptest::prelude::*;

use super::listing::FileContent;
use super::objects::FilePolicy;
use super::problem::ProblemKind;
use super::*;

const TENANT: &str = "\
apiVersion: nexus.dev/v1alpha1
kind: Tenant
metadata: {name: acme, namespace: acme}
spec:
  sources:
    - {name: github, provider: github, secretRef: {name: webhooks, key: github}}
  aliases:
    - name: \"@AI_Squad\"
      agents: {matchLabels: {squad: ai}}
";

const AGENT: &str = "\
apiVersion: nexus.dev/v1alpha1
kind: AgentProfile
metadata:
  name: coder
  namespace: acme
  labels: {squad: ai}
spec:
  tenant: acme
  subscriptions:
    - kinds: [NewWorkItem]
  maxInFlight: 4
";

const SECRET: &str = "\
apiVersion: v1
kind: Secret
metadata: {name: webhooks, namespace: acme}
data: {slack: aHVudGVyMg==}
stringData: {github: hunter2}
";

const POLICY: &str = "\
apiVersion: nexus.dev/v1alpha1
kind: NexusPolicy
metadata: {name: stop-all}
spec: {workloads: scaleToZero, mirror: pause}
";

const MAPPING: &str = "\
apiVersion: nexus.dev/v1alpha1
kind: Mapping
metadata: {name: shop, namespace: acme}
spec: {tenant: acme, clickupListId: '901', slackChannelId: C024BE91L, direction: both}
";

fn all() -> String {
    [TENANT, AGENT, SECRET, POLICY, MAPPING].join("---\n")
}

fn listing(files: &[(&str, &str)]) -> Listing {
    let file = |(path, text): &(&str, &str)| FileContent {
        path: path.into(),
        content: Content::Bytes(text.as_bytes().to_vec()),
    };
    let mut files: Vec<_> = files.iter().map(file).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Listing { files, ..Listing::default() }
}

fn read(files: &[(&str, &str)]) -> Reading {
    Folder::new("unused").take(listing(files))
}

/// What is wrong with one document.
fn problems(text: &str) -> Vec<String> {
    read(&[("x.yaml", text)]).problems.iter().map(ToString::to_string).collect()
}

/// The one problem of a valid document in which one piece is replaced.
fn problem(valid: &str, from: &str, to: &str) -> String {
    assert_eq!(valid.matches(from).count(), 1, "`{from}` in\n{valid}");
    let found = problems(&valid.replace(from, to));
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap()
}

#[test]
fn good_documents_become_objects() {
    let reading = read(&[("all.yaml", &all())]);
    assert_eq!(reading.problems, []);
    assert_eq!(reading.notices, []);
    assert!(reading.changed);
    let Objects { tenants, profiles, mappings, policies, secrets } = &*reading.objects;
    assert_eq!((tenants.len(), profiles.len(), mappings.len(), policies.len()), (1, 1, 1, 1));
    assert_eq!(profiles[0].spec.max_in_flight, Some(4));
    assert_eq!(policies[0].file, Path::new("all.yaml"));
    assert_eq!(secrets["acme"]["webhooks"]["slack"].expose(), b"hunter2");
    let acme = "acme/acme".parse().unwrap();
    assert_eq!(reading.objects.signing_secret(&acme, "github").unwrap().expose(), b"hunter2");
    let (tenants, orphans) = reading.objects.by_tenant();
    assert_eq!((tenants.len(), tenants[0].profiles.len(), orphans.len()), (1, 1, 0));
    assert_eq!(tenants[0].mappings.len(), 1);
}

#[test]
fn slips_in_a_mapping_are_named() {
    let says = |from: &str, to: &str| problem(MAPPING, from, to);
    let list = says("'901'", "901");
    assert!(list.contains("spec.clickupListId") && list.contains("put it in quotes"), "{list}");
    assert!(says("direction: both", "direction: toslack").contains("did you mean `toSlack`?"));
    assert!(says("direction: both", "crosses: [edit]").contains("did you mean `edits`?"));
}

#[test]
fn json_and_a_missing_namespace_are_taken_as_an_api_server_does() {
    let json = r#"{"apiVersion": "nexus.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": "acme", "labels": null},
        "spec": {"sources": null}, "status": {"conditions": []}}"#;
    let reading = read(&[("t.json", json)]);
    assert_eq!(reading.problems, []);
    assert_eq!(reading.objects.tenants[0].metadata.namespace.as_deref(), Some("default"));
}

#[test]
fn secrets_never_leave_their_namespace() {
    let elsewhere = SECRET.replace("namespace: acme", "namespace: other");
    let reading = read(&[("a.yaml", TENANT), ("b.yaml", &elsewhere)]);
    assert!(reading.objects.by_tenant().0[0].secrets.is_empty());
}

#[test]
fn unknown_fields_name_their_nearest_neighbour() {
    assert_eq!(
        problem(AGENT, "subscriptions:", "subscription:"),
        "x.yaml:9:3: spec.subscription: unknown field `subscription`; did you mean `subscriptions`?"
    );
    assert_eq!(
        problem(TENANT, "key: github}", "key: github, kye: x}"),
        "x.yaml:6:81: spec.sources[0].secretRef.kye: unknown field `kye`; did you mean `key`?"
    );
    assert_eq!(
        problem(TENANT, "{matchLabels:", "{matchLabel:"),
        "x.yaml:9:16: spec.aliases[0].agents.matchLabel: unknown field `matchLabel`; did you mean `matchLabels`?"
    );
    assert_eq!(
        problem(AGENT, "  labels:", "  lables:"),
        "x.yaml:6:3: metadata.lables: unknown field `lables`; did you mean `labels`?"
    );
    assert_eq!(
        problem(AGENT, "spec:\n", "specs: {}\nspec:\n"),
        "x.yaml:7:1: specs: unknown field `specs`; did you mean `spec`?"
    );
    assert!(
        problem(AGENT, "  maxInFlight: 4", "  banana: 4")
            .contains("unknown field `banana`; there are: tenant")
    );
}

#[test]
fn wrong_values_say_what_belongs_there() {
    assert_eq!(
        problem(AGENT, "maxInFlight: 4", "maxInFlight: four"),
        "x.yaml:11:16: spec.maxInFlight: the text `four` stands where a whole number belongs; \
         write one, without quotes"
    );
    assert_eq!(
        problem(AGENT, "maxInFlight: 4", "maxInFlight: -4"),
        "x.yaml:11:16: spec.maxInFlight: the number -4 does not fit into a whole number; write another value"
    );
    assert_eq!(
        problem(AGENT, "tenant: acme", "tenant: 901"),
        "x.yaml:8:11: spec.tenant: the number 901 stands where a text belongs; put it in quotes"
    );
    assert_eq!(
        problem(AGENT, "{squad: ai}", "{squad: yes}"),
        "x.yaml:6:19: metadata.labels.squad: `true` stands where a text belongs; put it in quotes"
    );
    assert_eq!(
        problem(AGENT, "[NewWorkItem]", "NewWorkItem"),
        "x.yaml:10:14: spec.subscriptions[0].kinds: the text `NewWorkItem` stands where a list belongs; \
         write `[…]` or lines that begin with `- `"
    );
    assert_eq!(
        problem(TENANT, "secretRef: {name: webhooks, key: github}", "secretRef: webhooks"),
        "x.yaml:6:51: spec.sources[0].secretRef: the text `webhooks` stands where a mapping belongs; \
         write `{…}` or lines of `key: value`"
    );
    assert_eq!(
        problem(TENANT, "provider: github", "provider: gitub"),
        "x.yaml:6:32: spec.sources[0].provider: `gitub` is none of the values that can stand here; \
         did you mean `github`?"
    );
    assert_eq!(
        problem(TENANT, ", key: github", ""),
        "x.yaml:6:51: spec.sources[0].secretRef.key: `key` is missing; add it"
    );
    assert_eq!(
        problem(AGENT, "  tenant: acme\n", ""),
        "x.yaml:8:3: spec.tenant: `tenant` is missing; add it"
    );
}

#[test]
fn documents_without_what_every_object_has_are_broken() {
    assert_eq!(problem(AGENT, "kind: AgentProfile\n", ""), "x.yaml:1:1: kind: `kind` is missing; add it");
    assert_eq!(
        problem(AGENT, "kind: AgentProfile", "kind: AgentProfil"),
        "x.yaml:2:7: kind: there is no kind `AgentProfil`; did you mean `AgentProfile`?"
    );
    assert_eq!(
        problem(AGENT, "v1alpha1", "v1beta1"),
        "x.yaml:1:13: apiVersion: `nexus.dev/v1beta1` has no kind AgentProfile; write `nexus.dev/v1alpha1`"
    );
    assert_eq!(
        problem(AGENT, "  name: coder\n", ""),
        "x.yaml:4:3: metadata.name: the object has no name; give it one"
    );
    assert_eq!(
        problem(AGENT, "name: coder", "name: Coder_1"),
        "x.yaml:4:9: metadata.name: `Coder_1` is no name; use lower-case letters, digits, and inner `-` and `.`"
    );
    assert_eq!(problems("just a text\n").len(), 1);
    assert_eq!(
        problems(&AGENT.replace("spec:\n", "specification:\n")),
        [
            "x.yaml:7:1: specification: unknown field `specification`; did you mean `spec`?",
            "x.yaml:1:1: spec: `spec` is missing; add it",
        ]
    );
}

#[test]
fn broken_yaml_says_where() {
    assert_eq!(
        problem(AGENT, "  namespace: acme", "  name: acme"),
        "x.yaml:5:3: the key `name` stands twice in one mapping; take one of them out"
    );
    let two = format!("{TENANT}---\n{}", AGENT.replace("[NewWorkItem]", "[NewWorkItem"));
    let reading = read(&[("x.yaml", &two)]);
    assert_eq!(reading.objects.tenants.len(), 1, "one broken document hides no other");
    let line = reading.problems[0].at.unwrap().line;
    assert!((20..=22).contains(&line), "{}", reading.problems[0]);
    assert!(problem("kind: x\n", "x", "\u{0}").starts_with("x.yaml:1:"));
}

#[test]
fn what_is_not_for_us_is_noticed_and_ignored() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n---\nsettings: {of: another program}\n---\n\
                apiVersion: nexus.dev/v1alpha1\nkind: Widget\nmetadata: {name: x}\n";
    let reading = read(&[("x.yaml", text)]);
    assert_eq!(reading.problems, []);
    let notices: Vec<_> = reading.notices.iter().map(ToString::to_string).collect();
    assert_eq!(
        notices,
        [
            "x.yaml:1: kind ConfigMap is not served here and is ignored",
            "x.yaml:5: no Kubernetes object (it has neither `apiVersion` nor `kind`); ignored",
            "x.yaml:7: kind Widget is not served here and is ignored",
        ]
    );
}

#[test]
fn no_problem_shows_a_secret() {
    let secret = |from: &str, to: &str| problem(SECRET, from, to);
    assert_eq!(
        secret("aHVudGVyMg==", "hunter2!"),
        "x.yaml:4:15: data.slack: the value is no base64; encode it, or put it under `stringData` as it is"
    );
    assert_eq!(
        secret("github: hunter2", "github: 4711"),
        "x.yaml:5:22: stringData.github: a text belongs here; put the value in quotes"
    );
    assert_eq!(
        secret("{github: hunter2}", "hunter2"),
        "x.yaml:5:13: stringData: a mapping belongs here; write lines of `key: value`"
    );
    assert_eq!(
        secret("stringData:", "stringdata:"),
        "x.yaml:5:1: stringdata: unknown field `stringdata`; did you mean `stringData`?"
    );
    for (from, to) in [
        ("{github: hunter2}", "{github: hunter2"),
        ("github: hunter2", "github: 'hunter2"),
        ("github: hunter2", "github: \"\\hunter2\""),
        ("github: hunter2", "github: *hunter2"),
        ("github: hunter2", "hunter2: a, hunter2: b"),
        ("github: hunter2", "github: !hunter2 x"),
        ("github: hunter2", "github: [hunter2]"),
        ("github: hunter2", "? [hunter2] : x"),
        ("stringData: {github: hunter2}", "hunter2: x"),
        ("namespace: acme", "hunter2: x"),
        ("name: webhooks", "name: 'hunter2!'"),
        ("namespace: acme", "namespace: _hunter2"),
        ("namespace: acme", "labels: hunter2"),
        ("namespace: acme", "generation: hunter2"),
        ("namespace: acme", "creationTimestamp: hunter2"),
        ("namespace: acme", "annotations: {hunter2: 1}"),
        ("namespace: acme", "finalizers: hunter2"),
        ("{name: webhooks, namespace: acme}", "{labels: hunter2}"),
        ("{name: webhooks, namespace: acme}", "hunter2"),
        ("apiVersion: v1", "apiVersion: v1hunter2"),
    ] {
        let reading = read(&[("x.yaml", &SECRET.replace(from, to).replace("aHVudGVyMg==", "''"))]);
        // A tag is left alone.
        assert!(!reading.problems.is_empty() || to.contains('!'), "{from} {to}");
        assert!(!format!("{reading:?}").contains("hunter2"), "{from} {to}: {reading:?}");
    }
    let good = read(&[("x.yaml", &all())]);
    assert!(!format!("{good:?}").contains("hunter2"));
}

#[test]
fn of_two_objects_with_one_name_the_first_stays() {
    let other = AGENT.replace("maxInFlight: 4", "maxInFlight: 5");
    let reading = read(&[("b.yaml", &other), ("a.yaml", &format!("\n---\n{AGENT}"))]);
    assert_eq!(
        reading.problems[0].to_string(),
        "b.yaml:1:1: metadata.name: AgentProfile acme/coder is defined in a.yaml:3 already, which stays in force; \
         take one of them out or rename it"
    );
    assert_eq!(reading.objects.profiles[0].spec.max_in_flight, Some(4));
}

/// Reads one state of the folder after another; the last reading.
fn after(states: &[&[(&str, &str)]]) -> Reading {
    let mut folder = Folder::new("unused");
    let readings: Vec<_> = states.iter().map(|files| folder.take(listing(files))).collect();
    readings.into_iter().next_back().unwrap()
}

#[test]
fn a_broken_document_keeps_its_last_good_value() {
    let unknown = AGENT.replace("subscriptions", "subscription").replace("maxInFlight: 4", "maxInFlight: 9");
    let yaml = AGENT.replace("[NewWorkItem]", "[NewWorkItem");
    for broken in [unknown.as_str(), &yaml, "apiVersion: nexus.dev/v1alpha1\nkin", "", "# nothing\n"] {
        let reading = after(&[&[("a.yaml", AGENT)], &[("a.yaml", broken)]]);
        assert_eq!(reading.objects.profiles[0].spec.max_in_flight, Some(4), "{broken}");
        assert!(reading.changed && reading.problems.len() == 1, "{reading:?}");
        let twice = after(&[&[("a.yaml", AGENT)], &[("a.yaml", broken)], &[("a.yaml", broken)]]);
        assert!(!twice.changed && twice.objects == reading.objects);
    }
    assert!(read(&[("a.yaml", &unknown)]).objects.profiles.is_empty(), "there was no good value");
}

#[test]
fn deleted_files_and_documents_remove_their_objects_at_the_second_reading() {
    let (whole, half) = (all(), [TENANT, SECRET].join("---\n"));
    let whole: &[(&str, &str)] = &[("a.yaml", &whole)];
    let half: &[(&str, &str)] = &[("a.yaml", &half)];
    let good = after(&[whole]).objects;
    let once = after(&[whole, &[]]);
    assert!(once.objects == good && !once.changed);
    let reading = after(&[whole, &[], &[]]);
    assert!(*reading.objects == Objects::default() && reading.changed);
    assert!(!after(&[whole, &[], &[], &[]]).changed);

    let once = after(&[whole, half]);
    assert!(once.objects == good && !once.changed);
    let reading = after(&[whole, half, half]);
    assert!(reading.objects.profiles.is_empty() && reading.objects.policies.is_empty());
    assert!(reading.objects.tenants.len() == 1 && reading.changed);
    let reading = after(&[whole, half, &[]]);
    assert_eq!((reading.objects.profiles.len(), reading.objects.tenants.len()), (0, 1));
}

#[test]
fn what_is_missing_for_a_moment_stays() {
    let whole = all();
    let whole: &[(&str, &str)] = &[("a.yaml", &whole)];
    let good = after(&[whole]).objects;
    // Renamed away and back; half written; and both in a row with a look at the whole between.
    for states in [
        &[whole, &[], whole][..],
        &[whole, &[("a.yaml", TENANT)], whole],
        &[whole, &[], whole, &[("a.yaml", TENANT)], whole, &[]],
        &[whole, &[], &[("a.yaml", "")], &[]],
    ] {
        assert_eq!(after(states).objects, good);
    }
    let changed = AGENT.replace("maxInFlight: 4", "maxInFlight: 5");
    let reading = after(&[whole, &[("a.yaml", TENANT), ("b.yaml", &changed)]]);
    assert_eq!(reading.objects.profiles[0].spec.max_in_flight, Some(5), "at once");
    assert_eq!(reading.objects.secrets, good.secrets);
    let other = AGENT.replace("name: coder", "name: other");
    let reading = after(&[whole, &[("b.yaml", &other)]]);
    assert_eq!(reading.objects.profiles.len(), 2, "added at once");
}

#[test]
fn a_stop_of_any_of_two_policies_with_one_name_is_in_force() {
    let to = |spec: &str| POLICY.replace("spec: {", &format!("spec: {{{spec}, "));
    let stop = to("stop: true, reason: drill");
    let ordered = |reading: &Reading| {
        let [FilePolicy { file, policy }] = &reading.objects.policies[..] else { panic!("{reading:?}") };
        let stops = policy.spec.stop == Some(true);
        stops.then(|| (file.to_str().unwrap().to_owned(), policy.spec.clone()))
    };
    let both: &[(&str, &str)] = &[("a.yaml", POLICY), ("b.yaml", &stop)];
    let reading = after(&[both]);
    let (file, spec) = ordered(&reading).unwrap();
    assert_eq!((file.as_str(), spec.reason.as_deref()), ("b.yaml", Some("drill")));
    assert_eq!(
        reading.problems[0].to_string(),
        "b.yaml:1:1: metadata.name: NexusPolicy stop-all is defined in a.yaml:1 already, which stays in force; \
         take one of them out or rename it (the stop that this one orders is in force nevertheless)"
    );
    assert!(!after(&[both, both]).changed);
    let (file, _) = ordered(&read(&[("a.yaml", &stop), ("b.yaml", POLICY)])).unwrap();
    assert_eq!(file, "a.yaml");

    // Whoever either means is stopped, and in the stronger way.
    let one = to("targets: {tenants: [{namespace: acme, name: acme}]}");
    let (_, spec) = ordered(&read(&[("a.yaml", &one), ("b.yaml", &stop)])).unwrap();
    assert_eq!(spec.targets, None);
    let mild = POLICY.replace("scaleToZero", "keep").replace("pause", "run");
    let (_, spec) = ordered(&read(&[("a.yaml", &mild), ("b.yaml", &stop)])).unwrap();
    let strong = nexus_crds::NexusPolicySpec::default();
    assert_eq!((spec.workloads, spec.mirror), (strong.workloads, strong.mirror));

    // It ends when its file says so, at once, or is gone twice.
    let none = after(&[both, &[("a.yaml", POLICY), ("b.yaml", POLICY)]]);
    assert!(ordered(&none).is_none() && none.changed);
    let alone: &[(&str, &str)] = &[("a.yaml", POLICY)];
    assert!(ordered(&after(&[both, alone])).is_some());
    assert!(ordered(&after(&[both, alone, both, alone])).is_some());
    assert!(ordered(&after(&[both, alone, alone])).is_none());
    let broken: &[(&str, &str)] = &[("a.yaml", POLICY), ("b.yaml", "kind: [")];
    assert!(ordered(&after(&[both, broken, broken])).is_some());
    assert!(ordered(&after(&[both, broken, alone, alone])).is_none());
    assert!(ordered(&after(&[both, &[("b.yaml", POLICY)]])).is_none(), "moved up");
    // The same when it is the first that orders.
    let both: &[(&str, &str)] = &[("a.yaml", &stop), ("b.yaml", POLICY)];
    let alone: &[(&str, &str)] = &[("b.yaml", POLICY)];
    let (file, _) = ordered(&after(&[both, alone])).unwrap();
    assert_eq!(file, "a.yaml");
    assert!(ordered(&after(&[both, alone, both])).is_some());
    assert!(ordered(&after(&[both, alone, alone])).is_none());
    assert!(ordered(&after(&[both, &[("a.yaml", POLICY), ("b.yaml", POLICY)]])).is_none());
}

#[test]
fn what_did_not_change_is_not_parsed_again() {
    let mut folder = Folder::new("unused");
    let (all, text) = (all(), "kind: [");
    let files: &[(&str, &str)] = &[("a.yaml", &all), ("b.yaml", text)];
    let first = folder.take(listing(files));
    let parsed = |folder: &Folder, path: &str| Arc::clone(&folder.parsed[Path::new(path)]);
    let (a, b) = (parsed(&folder, "a.yaml"), parsed(&folder, "b.yaml"));
    let same = |path: &str| FileContent { path: path.into(), content: Content::Same };
    let unread = Listing { files: vec![same("a.yaml"), same("b.yaml")], ..Listing::default() };
    for state in [listing(files), unread] {
        let again = folder.take(state);
        assert!(Arc::ptr_eq(&again.objects, &first.objects) && !again.changed);
        assert_eq!(again.problems, first.problems);
        assert!(Arc::ptr_eq(&a, &parsed(&folder, "a.yaml")));
    }
    let mut edited = listing(&[("b.yaml", AGENT)]);
    edited.files.insert(0, same("a.yaml"));
    let edited = folder.take(edited);
    assert!(edited.changed && edited.objects == first.objects, "{edited:?}");
    assert!(Arc::ptr_eq(&a, &parsed(&folder, "a.yaml")));
    assert!(!Arc::ptr_eq(&b, &parsed(&folder, "b.yaml")));

    // What is wrong only because of the reading before ends with it.
    let moved: &[(&str, &str)] = &[("a.yaml", ""), ("b.yaml", AGENT)];
    assert_eq!(after(&[&[("a.yaml", AGENT)], moved]).problems[0].kind, ProblemKind::Empty);
    let mended = after(&[&[("a.yaml", AGENT)], moved, moved]);
    assert!(mended.changed && mended.problems.is_empty(), "{mended:?}");

    let unknown = Listing { files: vec![same("never.yaml")], ..Listing::default() };
    assert!(Folder::new("unused").take(unknown).objects.tenants.is_empty());
}

#[test]
fn an_idle_folder_is_not_read_and_an_edited_one_is() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("all.yaml");
    std::fs::write(&path, all()).unwrap();
    let mut folder = Folder::new(root.path());
    folder.read();
    // Within the file system's tick an edit of the same length may leave no trace but the content.
    std::fs::write(&path, all().replace("maxInFlight: 4", "maxInFlight: 5")).unwrap();
    let reading = folder.read();
    assert_eq!(reading.objects.profiles[0].spec.max_in_flight, Some(5));

    // Read when it had been left alone for a while.
    let clock = folder.clock.clone();
    folder.clock = Clock::new(move || clock.now() + jiff::SignedDuration::from_secs(60));
    folder.read();
    let listing = listing::list(root.path(), None, folder.clock.now(), &mut folder.stamps);
    assert_eq!(listing.files[0].content, Content::Same);
    assert!(Arc::ptr_eq(&folder.read().objects, &reading.objects));
    std::fs::write(&path, all().replace("maxInFlight: 4", "maxInFlight: 60")).unwrap();
    assert_eq!(folder.read().objects.profiles[0].spec.max_in_flight, Some(60));
}

#[test]
fn a_file_with_a_broken_document_removes_nothing() {
    let broken = format!("{TENANT}---\nkind: [\n");
    let reading = after(&[&[("a.yaml", &all())], &[("a.yaml", &broken)]]);
    assert_eq!((reading.objects.profiles.len(), reading.objects.secrets.len()), (1, 1));
    let elsewhere = AGENT.replace("maxInFlight: 4", "maxInFlight: 5");
    let reading = after(&[&[("a.yaml", &all())], &[("a.yaml", &broken), ("b.yaml", &elsewhere)]]);
    assert_eq!(
        reading.objects.profiles[0].spec.max_in_flight,
        Some(5),
        "what moved meanwhile is taken from there"
    );
}

#[test]
fn a_broken_object_keeps_its_place_against_a_later_file() {
    let unknown = AGENT.replace("subscriptions", "subscription");
    let later = AGENT.replace("maxInFlight: 4", "maxInFlight: 5");
    let before: &[(&str, &str)] = &[("a.yaml", AGENT), ("b.yaml", &later)];
    let reading = after(&[before, &[("a.yaml", &unknown), ("b.yaml", &later)]]);
    assert_eq!(reading.objects.profiles[0].spec.max_in_flight, Some(4));
    let reading = after(&[&[("a.yaml", AGENT)], &[("moved.yaml", &unknown)]]);
    assert_eq!(reading.objects.profiles.len(), 1, "moved and broken at once");
}

#[test]
fn what_cannot_be_read_stays() {
    let mut folder = Folder::new("unused");
    let good = folder.take(listing(&[("sub/a.yaml", &all())])).objects;
    for unread in ["sub/a.yaml", "sub", ""] {
        let listing = Listing { unread: vec![unread.into()], ..Listing::default() };
        assert_eq!(folder.take(listing).objects, good, "{unread}");
    }
    let bytes = vec![FileContent { path: "sub/a.yaml".into(), content: Content::Bytes(vec![0xff, 0xfe]) }];
    let reading = folder.take(Listing { files: bytes, ..Listing::default() });
    assert!(reading.objects == good && reading.problems[0].to_string().contains("no UTF-8"));
}

#[test]
fn an_edit_is_told_of_once() {
    let mut folder = Folder::new("unused");
    assert!(folder.take(listing(&[])).changed, "the first reading is news even of nothing");
    assert!(!folder.take(listing(&[])).changed);
    assert!(folder.take(listing(&[("a.yaml", &all())])).changed);
    assert!(!folder.take(listing(&[("a.yaml", &all())])).changed);
    assert!(!folder.take(listing(&[("renamed.yaml", &all())])).changed);
    assert!(folder.take(listing(&[("a.yaml", &all().replace("hunter2", "hunter3"))])).changed);
}

#[test]
fn a_policy_that_orders_a_stop_is_obeyed_as_far_as_it_can_be_read() {
    let stop = POLICY.replace("spec: {", "spec: {stop: true, ");
    for (from, to) in [
        ("stop: true", "stop: true, reson: typo"),
        ("mirror: pause", "mirror: paws"),
        ("mirror: pause", "targets: {agents: {matchExpressions: [{key: a, operator: Within}]}}"),
        ("mirror: pause", "targets: [everybody]"),
        ("stop-all}", "stop-all, lables: {}}"),
    ] {
        let reading = read(&[("p.yaml", &stop.replace(from, to))]);
        assert_eq!(reading.problems.len(), 1, "{reading:?}");
        assert!(reading.problems[0].to_string().contains("in force nevertheless"), "{}", reading.problems[0]);
        let spec = &reading.objects.policies[0].policy.spec;
        assert_eq!(spec.stop, Some(true), "{to}");
    }
    for slip in ["\"true\"", "'yes'", "1", "truee", "\"false\"", "[]", "{}"] {
        let ours = "mirror: pause, targets: {tenants: [{namespace: acme, name: acme}]}";
        let text = stop.replace("stop: true", &format!("stop: {slip}")).replace("mirror: pause", ours);
        let reading = after(&[&[("p.yaml", POLICY)], &[("p.yaml", &text)]]);
        assert_eq!(reading.problems.len(), 1, "{reading:?}");
        let problem = reading.problems[0].to_string();
        assert!(problem.contains("spec.stop: ") && problem.contains("in force nevertheless"), "{problem}");
        let spec = &reading.objects.policies[0].policy.spec;
        assert_eq!(spec.stop, Some(true), "{slip}");
        assert_eq!(spec.targets.as_ref().unwrap().tenants.len(), 1, "{slip}");
        let worse = text.replace("workloads: scaleToZero", "workloads: gone");
        let spec = &read(&[("p.yaml", &worse)]).objects.policies[0].policy.spec;
        assert!(spec.stop == Some(true) && spec.targets.is_none(), "{slip}");
    }
    for no in ["false", "null", "~", "no"] {
        let reading = read(&[("p.yaml", &stop.replace("stop: true", &format!("stop: {no}")))]);
        assert!(reading.problems.is_empty(), "{reading:?}");
        assert_ne!(reading.objects.policies[0].policy.spec.stop, Some(true), "{no}");
    }
    let harmless = POLICY.replace("mirror: pause", "mirror: paws");
    assert!(read(&[("p.yaml", &harmless)]).objects.policies.is_empty());
    let long = POLICY.replace("mirror: pause", &format!("reason: {}", "x".repeat(1025)));
    assert_eq!(read(&[("p.yaml", &long)]).problems[0].kind, ProblemKind::OutOfBounds);
}

#[test]
fn a_storm_of_documents_ends() {
    let text = "---\na: 1\n".repeat(MAX_DOCUMENTS + 1);
    let reading = read(&[("x.yaml", &text)]);
    assert_eq!(reading.notices.len(), MAX_DOCUMENTS);
    assert_eq!(reading.problems[0].kind, ProblemKind::TooLarge);
}

#[test]
fn a_folder_on_disk_is_read() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("all.yaml"), all()).unwrap();
    let mut folder = Folder::new(root.path());
    assert_eq!(folder.read().objects.profiles.len(), 1);
    let (path, away) = (root.path().join("all.yaml"), root.path().join("all.yaml~"));
    std::fs::rename(&path, &away).unwrap();
    assert_eq!(folder.read().objects.profiles.len(), 1, "an editor's way to save");
    std::fs::rename(&away, &path).unwrap();
    assert!(!folder.read().changed);
    std::fs::remove_file(path).unwrap();
    let gone = root.path().to_owned();
    drop(root);
    assert!(!gone.exists());
    let reading = folder.read();
    assert_eq!(reading.problems[0].kind, ProblemKind::Unreadable);
    assert_eq!(reading.objects.profiles.len(), 1, "no folder is no deletion");
}

proptest! {
    #[test]
    fn a_file_cut_anywhere_keeps_the_last_good_objects(cut in 0_usize..1200) {
        let full = all();
        prop_assume!(full.is_char_boundary(cut.min(full.len())));
        let text = &full[..cut.min(full.len())];
        let good = read(&[("a.yaml", &full)]).objects;
        let once = after(&[&[("a.yaml", &full)], &[("a.yaml", text)]]);
        prop_assert_eq!(once.objects.tenants.len(), good.tenants.len());
        prop_assert_eq!(once.objects.profiles.len(), good.profiles.len());
        prop_assert_eq!(once.objects.policies.len(), good.policies.len());
        prop_assert_eq!(once.objects.secrets.len(), good.secrets.len());
        let reading = after(&[&[("a.yaml", &full)], &[("a.yaml", text)], &[("a.yaml", text)]]);
        let fresh = read(&[("a.yaml", text)]);
        if reading.problems.is_empty() {
            // It is a whole file by itself: nobody can tell that there was more.
            prop_assert_eq!(reading.objects, fresh.objects);
        } else {
            prop_assert_eq!(&reading.objects.tenants, &good.tenants);
            prop_assert_eq!(reading.objects.profiles.len(), good.profiles.len());
            prop_assert_eq!(reading.objects.policies.len(), good.policies.len());
            prop_assert_eq!(&reading.objects.secrets, &good.secrets);
        }
    }

    #[test]
    fn any_text_is_read_without_panic(text in "\\PC*", line in "[a-z:\\[\\]{}&*!|>'\"%#\\- \t]{0,40}") {
        read(&[("a.yaml", &text), ("b.yaml", &line), ("c.json", &text)]);
        read(&[("a.yaml", &format!("{TENANT}---\n{AGENT}{line}\n"))]);
    }
}

#[test]
fn a_broken_definition_before_a_good_one_of_the_same_file_makes_it_no_duplicate_of_itself() {
    let broken = AGENT.replace("subscriptions:", "subscription:");
    let file = |good: &str| format!("{broken}---\n{good}");
    let mut folder = Folder::new("unused");
    let first = folder.take(listing(&[("a.yaml", &file(AGENT))]));
    assert_eq!(first.problems.len(), 1);
    let second = folder.take(listing(&[("a.yaml", &file(AGENT))]));
    assert_eq!(Reading { changed: true, ..second.clone() }, first);
    assert!(!second.changed);
    // Nor does it keep what the good one gives from being changed or moved.
    let edited = AGENT.replace("maxInFlight: 4", "maxInFlight: 5");
    let third = folder.take(listing(&[("a.yaml", &file(&edited))]));
    assert_eq!(third.objects.profiles[0].spec.max_in_flight, Some(5));
    let moved = folder.take(listing(&[("a.yaml", &format!("# moved\n{}", file(&edited)))]));
    assert_eq!((moved.objects.profiles.len(), moved.problems.len()), (1, 1));
    // A further one is a duplicate all the same.
    let twice = folder.take(listing(&[("a.yaml", &format!("# moved\n{}---\n{AGENT}", file(&edited)))]));
    assert_eq!(twice.objects.profiles[0].spec.max_in_flight, Some(5));
    assert_eq!(twice.problems.last().unwrap().kind, ProblemKind::DuplicateObject);
}

#[test]
fn a_carriage_return_alone_ends_a_line_in_every_document() {
    let text = all().replace("\n", "\r");
    assert_eq!(read(&[("x.yaml", &text)]).problems, []);
    let text =
        format!("{}---\n{}", TENANT.replace('\n', "\r"), AGENT.replace("subscriptions", "subscription"));
    let found = problems(&text);
    assert_eq!(found.len(), 1, "{found:?}");
    // The Tenant has nine lines, `---` is the tenth.
    assert!(found[0].starts_with("x.yaml:19:3: spec.subscription"), "{found:?}");
}

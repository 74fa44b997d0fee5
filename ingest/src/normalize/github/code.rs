//! Pushes, branches, releases, builds and deployments; and everything that only has a name and a page.

use nexus_core::event::{EventData, Push};
use nexus_core::kind::Kind;

use super::body::{Alert, Person, PullRequest, Run, Thing};
use super::{Told, change, first_time, scan};
use crate::normalize::Draft;
use crate::normalize::lenient::{List, Maybe};

/// At most so many commits of a push are linked to.
const MAX_COMMIT_LINKS: usize = 20;

pub(super) fn push(draft: &mut Draft, told: &Told<'_>) {
    let body = told.body;
    let head = body.head_commit.get();
    if let Some(git_ref) = body.git_ref.word() {
        on_ref(draft, told, git_ref);
        draft.data.push = Some(Push {
            git_ref: git_ref.to_owned(),
            before: body.before.owned(),
            after: body.after.owned(),
            commits: u32::try_from(body.commits.iter().count()).unwrap_or(u32::MAX),
        });
    }
    if let Some(message) = head.and_then(|head| head.message.text()) {
        draft.data.title = message.lines().next().map(str::to_owned);
        draft.data.text = Some(message.to_owned());
        scan(&mut draft.mentions, message);
    }
    draft.data.url = body.compare.owned();
    // The commits' own times are set by whoever made them; the repository's is GitHub's.
    let pushed = body.repository.get().and_then(|repo| repo.pushed_at.word());
    draft.time = first_time(&[pushed]);
    let commits = body.commits.iter().filter_map(|commit| commit.url.owned());
    for url in commits.take(MAX_COMMIT_LINKS) {
        draft.link("commit", url);
    }
}

pub(super) fn git_ref(draft: &mut Draft, told: &Told<'_>) {
    let Some(short) = told.body.git_ref.word() else {
        return;
    };
    let git_ref = match told.body.ref_type.word() {
        Some("tag") => format!("refs/tags/{short}"),
        _ => format!("refs/heads/{short}"),
    };
    on_ref(draft, told, &git_ref);
    draft.data.title = Some(short.to_owned());
    draft.data.url = match draft.kind {
        Kind::RefCreated => told.repo_url().map(|url| format!("{url}/tree/{short}")),
        _ => told.repo_url().map(str::to_owned),
    };
    draft.data.push = Some(Push { git_ref, before: None, after: None, commits: 0 });
}

pub(super) fn release(draft: &mut Draft, told: &Told<'_>) {
    let Some(release) = told.body.release.get() else {
        return;
    };
    if let Some(tag) = release.tag_name.word() {
        on_ref(draft, told, &format!("refs/tags/{tag}"));
    }
    let data = &mut draft.data;
    data.title = release.name.owned().or_else(|| release.tag_name.owned());
    data.text = release.body.text().map(str::to_owned);
    data.url = release.html_url.owned();
    draft.time = match told.action {
        "published" | "released" | "prereleased" => first_time(&[release.published_at.word()]),
        "created" => first_time(&[release.created_at.word()]),
        _ => None,
    };
    if let Kind::ReleasePublished = draft.kind {
        scan(&mut draft.mentions, release.body.text().unwrap_or_default());
    }
    change::edited(draft, told, |_| None);
}

pub(super) fn run(draft: &mut Draft, told: &Told<'_>) {
    let body = told.body;
    let (run, noun) = match told.name {
        "workflow_run" => (&body.workflow_run, "actions/runs"),
        "workflow_job" => (&body.workflow_job, "actions/jobs"),
        "check_run" => (&body.check_run, "check-runs"),
        _ => (&body.check_suite, "check-suites"),
    };
    let Some(run) = run.get() else { return };
    let suite = run.check_suite.get();
    let branch = run.head_branch.word().or_else(|| suite?.head_branch.word());
    let number = own_number(told, &run.pull_requests)
        .or_else(|| suite.and_then(|suite| own_number(told, &suite.pull_requests)));
    of_build(draft, told, number, branch, run.head_sha.word());
    draft.subject = run.id.word().map(|id| format!("{}/{noun}/{id}", told.place()));
    let app = run.app.get().and_then(Thing::label);
    let data = &mut draft.data;
    data.title = run_title(run).or_else(|| app.map(str::to_owned));
    data.url = run.html_url.owned();
    if let Some(output) = run.output.get() {
        data.text = output.summary.text().or_else(|| output.title.text()).map(str::to_owned);
    }
    let ended = draft.kind == Kind::BuildFinished;
    draft.data.outcome = run.conclusion.owned().filter(|_| ended);
    draft.time = if ended {
        first_time(&[run.completed_at.word(), run.updated_at.word()])
    } else {
        first_time(&[run.started_at.word(), run.updated_at.word(), run.created_at.word()])
    };
}

/// The name of a run; of a job with its workflow's, of a workflow with what it runs for.
fn run_title(run: &Run<'_>) -> Option<String> {
    let name = run.name.word()?;
    Some(match (run.workflow_name.word(), run.display_title.word()) {
        (Some(workflow), _) if workflow != name => format!("{workflow} / {name}"),
        (None, Some(title)) if title != name => format!("{name}: {title}"),
        _ => name.to_owned(),
    })
}

pub(super) fn deployment(draft: &mut Draft, told: &Told<'_>) {
    let body = told.body;
    let deployment = body.deployment.get();
    let status = body.deployment_status.get();
    let run = body.workflow_run.get();
    let (branch, sha) = match deployment {
        Some(deployment) => (deployment.git_ref.word(), deployment.sha.word()),
        None => (run.and_then(|run| run.head_branch.word()), run.and_then(|run| run.head_sha.word())),
    };
    let number = run.and_then(|run| own_number(told, &run.pull_requests));
    // A deployment's ref may be a commit.
    let branch = branch.filter(|branch| Some(*branch) != sha);
    of_build(draft, told, number, branch, sha);
    let id = deployment.and_then(|deployment| deployment.id.word());
    draft.subject = id.map(|id| format!("{}/deployments/{id}", told.place()));
    let newest = status.or(deployment);
    let data = &mut draft.data;
    data.title = newest.and_then(|newest| newest.environment.owned()).or_else(|| body.environment.owned());
    if let Some(newest) = newest {
        data.text = newest.description.text().map(str::to_owned);
        data.url = [&newest.environment_url, &newest.log_url, &newest.target_url]
            .into_iter()
            .find_map(|url| url.owned());
        draft.time = first_time(&[newest.updated_at.word()]);
    }
    let data = &mut draft.data;
    data.url = data.url.take().or_else(|| run?.html_url.owned());
    data.outcome = match told.name {
        "deployment_status" if draft.kind == Kind::BuildFinished => {
            status.and_then(|status| status.state.owned())
        }
        "deployment_review" if told.action != "requested" => Some(told.action.to_owned()),
        _ => None,
    };
}

pub(super) fn status(draft: &mut Draft, told: &Told<'_>) {
    let body = told.body;
    let branch = body.branches.iter().find_map(|branch| branch.name.word());
    of_build(draft, told, None, branch, body.sha.word());
    draft.subject = body.id.word().map(|id| format!("{}/statuses/{id}", told.place()));
    draft.data.title = body.context.owned();
    draft.data.text = body.description.text().map(str::to_owned);
    draft.data.url = body.target_url.owned();
    draft.data.outcome = body.state.owned().filter(|_| draft.kind == Kind::BuildFinished);
    draft.time = first_time(&[body.updated_at.word()]);
}

pub(super) fn merge_group(draft: &mut Draft, told: &Told<'_>) {
    let Some(group) = told.body.merge_group.get() else {
        return;
    };
    let base = group.base_ref.word().map(|git_ref| git_ref.trim_start_matches("refs/heads/"));
    of_build(draft, told, None, base, group.head_sha.word());
    draft.subject = group.head_ref.word().map(|head| format!("{}@{head}", told.place()));
    let message = group.head_commit.get().and_then(|commit| commit.message.text());
    draft.data.title = message.and_then(|message| message.lines().next()).map(str::to_owned);
    draft.data.outcome = told.body.reason.owned();
}

/// Whatever has a name, a page or a text: labels, teams, projects, alerts, the greeting.
pub(super) fn thing(draft: &mut Draft, told: &Told<'_>) {
    let body = told.body;
    let things = [
        &body.label,
        &body.milestone,
        &body.package,
        &body.registry_package,
        &body.team,
        &body.project_card,
        &body.project_column,
        &body.project,
        &body.projects_v2,
        &body.projects_v2_item,
        &body.rule,
        &body.key,
        &body.forkee,
        &body.build,
    ];
    let thing = things.into_iter().find_map(Maybe::get).or_else(|| body.pages.iter().next());
    if let Some(thing) = thing {
        named(draft, thing);
    }
    if let Some(alert) = body.alert.get().or_else(|| body.security_advisory.get()) {
        warned(draft, told, alert);
    }
    let data = &mut draft.data;
    let membership = || body.membership.get()?.user.get();
    let person = body.member.get().or_else(membership).or_else(|| body.blocked_user.get());
    // Of a person in a team, the team is the title and the person what changed.
    if let Some(login) = person.and_then(Person::handle).map(str::to_owned) {
        data.title = data.title.take().or_else(|| Some(login.clone()));
        draft.change("member", None, Some(login));
    }
    let data = &mut draft.data;
    data.title = data.title.take().or_else(|| body.zen.owned()).or_else(|| body.workflow.owned());
    data.url = data.url.take().or_else(|| told.repo_url().map(str::to_owned));
    draft.subject = draft.subject.take().or_else(|| told.repo().map(str::to_owned));
    if told.name == "page_build" && draft.kind == Kind::BuildFinished {
        draft.data.outcome = body.build.get().and_then(|build| build.status.owned());
    }
    if let ("workflow_dispatch", Some(git_ref)) = (told.name, body.git_ref.word()) {
        on_ref(draft, told, git_ref);
    }
    change::edited(draft, told, |_| None);
}

fn named(draft: &mut Draft, thing: &Thing<'_>) {
    let EventData { title, text, url, .. } = &mut draft.data;
    *title = thing.label().map(str::to_owned);
    *text = [&thing.description, &thing.summary, &thing.note]
        .into_iter()
        .find_map(|text| text.text().map(str::to_owned));
    *url = thing.html_url.owned();
    draft.time = first_time(&[thing.updated_at.word()]);
}

fn warned(draft: &mut Draft, told: &Told<'_>, alert: &Alert<'_>) {
    let advisory = alert.security_advisory.get();
    let rule = alert.rule.get();
    let data = &mut draft.data;
    data.title = [
        alert.summary.owned(),
        advisory.and_then(|advisory| advisory.summary.owned()),
        rule.and_then(|rule| rule.description.owned().or_else(|| rule.name.owned())),
        alert.secret_type_display_name.owned(),
        alert.affected_package_name.owned(),
        alert.ghsa_id.owned(),
    ]
    .into_iter()
    .flatten()
    .next();
    let text = alert.description.text().or_else(|| advisory?.description.text());
    data.text = text.map(str::to_owned);
    data.url = alert.html_url.owned();
    draft.time = first_time(&[alert.updated_at.word()]);
    draft.change("state", None, alert.state.owned());
    let number = alert.number.word().map(|number| format!("/alerts/{number}"));
    let advisory = || alert.ghsa_id.word().map(|id| format!("/advisories/{id}"));
    if let Some(path) = number.or_else(advisory) {
        let subject = format!("{}{path}", told.place());
        draft.data.thread_key = format!("github:{subject}");
        draft.subject = Some(subject);
    }
}

fn on_ref(draft: &mut Draft, told: &Told<'_>, git_ref: &str) {
    let subject = format!("{}@{git_ref}", told.place());
    draft.data.thread_key = format!("github:{subject}");
    draft.subject = Some(subject);
}

/// The thread of a build: its pull request's, else its branch's, else its commit's.
fn of_build(
    draft: &mut Draft,
    told: &Told<'_>,
    number: Option<&str>,
    branch: Option<&str>,
    sha: Option<&str>,
) {
    let place = told.place();
    let thread = match (number, branch, sha) {
        (Some(number), ..) => format!("{place}#{number}"),
        (None, Some(branch), _) => format!("{place}@refs/heads/{branch}"),
        (None, None, Some(sha)) => format!("{place}@{sha}"),
        (None, None, None) => place.to_owned(),
    };
    draft.data.thread_key = format!("github:{thread}");
    let Some(url) = told.repo_url() else { return };
    if let Some(number) = number {
        draft.link("pull-request", format!("{url}/pull/{number}"));
    }
    if let Some(sha) = sha {
        draft.link("commit", format!("{url}/commit/{sha}"));
    }
}

/// The number of the first pull request that is one of this repository: a fork's commits are in others too.
fn own_number<'b>(told: &Told<'_>, changes: &'b List<Maybe<PullRequest<'b>>>) -> Option<&'b str> {
    let own = told.body.repository.get().and_then(|repo| repo.id.word());
    let base = |change: &'b PullRequest<'b>| change.base.get()?.repo.get()?.id.word();
    changes
        .iter()
        .find(|change| base(change).is_none_or(|base| own.is_none_or(|own| own == base)))?
        .number
        .word()
}

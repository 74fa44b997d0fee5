//! The parts of GitHub's bodies that an event is made of. One type for all events: a field that an event does
//! not have is absent.

use serde::Deserialize;

use crate::normalize::lenient::{Entries, Flag, List, Maybe, Text};

macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_attr:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Default, Deserialize)]
            #[serde(default, bound(deserialize = "'de: 'a"))]
            pub(super) struct $name<'a> {
                $($(#[$field_attr])* pub(super) $field: $type,)*
            }
        )*
    };
}

shapes! {
    /// A body.
    Body {
        action: Text<'a>,
        sender: Maybe<Person<'a>>,
        pusher: Maybe<Person<'a>>,
        repository: Maybe<Repository<'a>>,
        organization: Maybe<Person<'a>>,
        installation: Maybe<Installation<'a>>,
        changes: Entries<'a, Maybe<Changed<'a>>>,

        issue: Maybe<Topic<'a>>,
        sub_issue: Maybe<Topic<'a>>,
        pull_request: Maybe<Topic<'a>>,
        discussion: Maybe<Topic<'a>>,
        comment: Maybe<Comment<'a>>,
        answer: Maybe<Comment<'a>>,
        review: Maybe<Comment<'a>>,
        thread: Maybe<ReviewThread<'a>>,
        label: Maybe<Thing<'a>>,
        assignee: Maybe<Person<'a>>,
        milestone: Maybe<Thing<'a>>,
        #[serde(rename = "type")]
        issue_type: Maybe<Thing<'a>>,
        requested_reviewer: Maybe<Person<'a>>,
        requested_team: Maybe<Thing<'a>>,

        #[serde(rename = "ref")]
        git_ref: Text<'a>,
        ref_type: Text<'a>,
        before: Text<'a>,
        after: Text<'a>,
        compare: Text<'a>,
        deleted: Flag,
        commits: List<Maybe<Commit<'a>>>,
        head_commit: Maybe<Commit<'a>>,

        release: Maybe<Release<'a>>,
        workflow_run: Maybe<Run<'a>>,
        workflow_job: Maybe<Run<'a>>,
        check_run: Maybe<Run<'a>>,
        check_suite: Maybe<Run<'a>>,
        deployment: Maybe<Deployment<'a>>,
        deployment_status: Maybe<Deployment<'a>>,
        merge_group: Maybe<MergeGroup<'a>>,
        build: Maybe<Thing<'a>>,
        environment: Text<'a>,
        reason: Text<'a>,

        // A commit status is the body itself.
        id: Text<'a>,
        sha: Text<'a>,
        state: Text<'a>,
        context: Text<'a>,
        description: Text<'a>,
        target_url: Text<'a>,
        updated_at: Text<'a>,
        branches: List<Maybe<Thing<'a>>>,

        zen: Text<'a>,
        workflow: Text<'a>,
        alert: Maybe<Alert<'a>>,
        security_advisory: Maybe<Alert<'a>>,
        package: Maybe<Thing<'a>>,
        registry_package: Maybe<Thing<'a>>,
        forkee: Maybe<Thing<'a>>,
        member: Maybe<Person<'a>>,
        membership: Maybe<Membership<'a>>,
        blocked_user: Maybe<Person<'a>>,
        team: Maybe<Thing<'a>>,
        project: Maybe<Thing<'a>>,
        project_card: Maybe<Thing<'a>>,
        project_column: Maybe<Thing<'a>>,
        projects_v2: Maybe<Thing<'a>>,
        projects_v2_item: Maybe<Thing<'a>>,
        rule: Maybe<Thing<'a>>,
        key: Maybe<Thing<'a>>,
        pages: List<Maybe<Thing<'a>>>,
    }

    /// An account.
    Person {
        id: Text<'a>,
        login: Text<'a>,
        name: Text<'a>,
        #[serde(rename = "type")]
        kind: Text<'a>,
    }

    /// A repository.
    Repository {
        id: Text<'a>,
        full_name: Text<'a>,
        html_url: Text<'a>,
        /// Seconds since 1970 in a push, ISO text elsewhere.
        pushed_at: Text<'a>,
    }

    /// An installation of a GitHub App.
    Installation {
        account: Maybe<Person<'a>>,
    }

    /// What `changes` says of one field.
    Changed {
        from: Text<'a>,
        to: Text<'a>,
        /// Of a changed base branch: its name before.
        #[serde(rename = "ref")]
        git_ref: Maybe<Was<'a>>,
        /// Of a transfer: the new repository.
        full_name: Text<'a>,
        /// Of a transfer: the new page.
        html_url: Text<'a>,
    }

    /// A value as it was before.
    Was {
        from: Text<'a>,
    }

    /// An issue, a pull request or a discussion.
    Topic {
        id: Text<'a>,
        number: Text<'a>,
        title: Text<'a>,
        body: Text<'a>,
        state: Text<'a>,
        state_reason: Text<'a>,
        html_url: Text<'a>,
        user: Maybe<Person<'a>>,
        labels: List<Maybe<Thing<'a>>>,
        assignee: Maybe<Person<'a>>,
        assignees: List<Maybe<Person<'a>>>,
        created_at: Text<'a>,
        updated_at: Text<'a>,
        closed_at: Text<'a>,
        /// There if the issue is a pull request.
        pull_request: Maybe<Thing<'a>>,
        merged: Flag,
        merged_at: Text<'a>,
        merge_commit_sha: Text<'a>,
        head: Maybe<Branch<'a>>,
        base: Maybe<Branch<'a>>,
        category: Maybe<Thing<'a>>,
        #[serde(rename = "performed_via_github_app")]
        by_app: Maybe<Thing<'a>>,
    }

    /// One end of a pull request.
    Branch {
        #[serde(rename = "ref")]
        git_ref: Text<'a>,
        sha: Text<'a>,
        repo: Maybe<Repository<'a>>,
    }

    /// A comment or a review.
    Comment {
        id: Text<'a>,
        body: Text<'a>,
        state: Text<'a>,
        html_url: Text<'a>,
        user: Maybe<Person<'a>>,
        commit_id: Text<'a>,
        in_reply_to_id: Text<'a>,
        parent_id: Text<'a>,
        created_at: Text<'a>,
        updated_at: Text<'a>,
        submitted_at: Text<'a>,
        #[serde(rename = "performed_via_github_app")]
        by_app: Maybe<Thing<'a>>,
    }

    /// The comments of a review on one line.
    ReviewThread {
        comments: List<Maybe<Comment<'a>>>,
    }

    /// A commit of a push.
    Commit {
        message: Text<'a>,
        url: Text<'a>,
    }

    /// A release.
    Release {
        tag_name: Text<'a>,
        name: Text<'a>,
        body: Text<'a>,
        html_url: Text<'a>,
        author: Maybe<Person<'a>>,
        created_at: Text<'a>,
        published_at: Text<'a>,
    }

    /// A run of a workflow, a job or a check; a suite of checks.
    Run {
        id: Text<'a>,
        name: Text<'a>,
        display_title: Text<'a>,
        workflow_name: Text<'a>,
        html_url: Text<'a>,
        conclusion: Text<'a>,
        head_branch: Text<'a>,
        head_sha: Text<'a>,
        created_at: Text<'a>,
        updated_at: Text<'a>,
        started_at: Text<'a>,
        completed_at: Text<'a>,
        pull_requests: List<Maybe<PullRequest<'a>>>,
        check_suite: Maybe<Suite<'a>>,
        output: Maybe<Thing<'a>>,
        app: Maybe<Thing<'a>>,
    }

    /// The suite that a check belongs to.
    Suite {
        head_branch: Text<'a>,
        pull_requests: List<Maybe<PullRequest<'a>>>,
    }

    /// A pull request that a run belongs to.
    PullRequest {
        number: Text<'a>,
        base: Maybe<Branch<'a>>,
    }

    /// A deployment or its status.
    Deployment {
        id: Text<'a>,
        #[serde(rename = "ref")]
        git_ref: Text<'a>,
        sha: Text<'a>,
        state: Text<'a>,
        environment: Text<'a>,
        description: Text<'a>,
        environment_url: Text<'a>,
        log_url: Text<'a>,
        target_url: Text<'a>,
        updated_at: Text<'a>,
    }

    /// A group of pull requests in a merge queue.
    MergeGroup {
        head_ref: Text<'a>,
        head_sha: Text<'a>,
        base_ref: Text<'a>,
        head_commit: Maybe<Commit<'a>>,
    }

    /// A warning about security.
    Alert {
        number: Text<'a>,
        state: Text<'a>,
        summary: Text<'a>,
        description: Text<'a>,
        html_url: Text<'a>,
        updated_at: Text<'a>,
        ghsa_id: Text<'a>,
        affected_package_name: Text<'a>,
        secret_type_display_name: Text<'a>,
        rule: Maybe<Thing<'a>>,
        security_advisory: Maybe<Thing<'a>>,
    }

    /// A person's place in an organization.
    Membership {
        user: Maybe<Person<'a>>,
    }

    /// Anything else that has a name, a page or a text.
    Thing {
        name: Text<'a>,
        title: Text<'a>,
        slug: Text<'a>,
        full_name: Text<'a>,
        description: Text<'a>,
        summary: Text<'a>,
        note: Text<'a>,
        html_url: Text<'a>,
        status: Text<'a>,
        updated_at: Text<'a>,
    }
}

impl Thing<'_> {
    /// Its name or title.
    pub(super) fn label(&self) -> Option<&str> {
        [&self.full_name, &self.name, &self.title, &self.slug].into_iter().find_map(Text::word)
    }
}

impl Person<'_> {
    /// The login; a git author has a name only.
    pub(super) fn handle(&self) -> Option<&str> {
        [&self.login, &self.name, &self.id].into_iter().find_map(Text::word)
    }
}

# Short names of all commands; bare `just` lists them.

_default:
    @just --list --unsorted

# Bring up the quickstart on this machine.
dev *ARGS:
    cargo run --release -p nexus -- dev examples/quickstart {{ARGS}}

# Install what the tests need, then run them all, as CI does.
test:
    scripts/test

# Install what the tests need.
deps:
    scripts/test-deps

# Format, lint and check the arrows between crates.
lint:
    scripts/lint

# Rewrite what is generated and committed: definitions of custom resources, protobuf code, schemas and API documents, golden files, tables of kinds.
update:
    UPDATE_GENERATED=1 UPDATE_GOLDEN=1 UPDATE_TABLES=1 INSTA_UPDATE=always cargo test -p nexus-core -p nexus-crds -p nexus-wire -p nexus-compile -p nexus-ingest -p nexus-runtime -p nexus

# Make the image of Nexus, without a container engine; `just image --dev` for tests.
image *ARGS:
    scripts/image {{ARGS}}

# A Kubernetes for tests: `just cluster up`, `down`, `image NAME EXECUTABLE`, `install`, `build`.
cluster COMMAND *ARGS:
    e2e/cluster/{{COMMAND}} {{ARGS}}

# Measure the engines that were weighed for the embedded log.
bench-log:
    cd bench/group-commit && cargo run --release

# Measure Nexus beside the floor: the same durable steps and hops with no logic.
bench-load *ARGS:
    cargo build --profile dist -p nexus
    cd bench/load && cargo run --release -- compare --nexus "${CARGO_TARGET_DIR:-../../target}/dist/nexus" {{ARGS}}

# Measure Nexus as processes over Redis beside the floor as processes over Redis.
bench-fleet *ARGS:
    cargo build --profile dist -p nexus
    cd bench/load && cargo run --release -- fleet --nexus "${CARGO_TARGET_DIR:-../../target}/dist/nexus" {{ARGS}}

# Measure a gateway over Redis with 20,000 agents at rest: memory, CPU, commands; a stop and the way back.
bench-idle *ARGS:
    cargo build --profile dist -p nexus
    cd bench/load && cargo run --release -- idle --nexus "${CARGO_TARGET_DIR:-../../target}/dist/nexus" {{ARGS}}

# Kill the built program, lose the power and fill the disk under load: nothing accepted may be lost.
durability *ARGS:
    cargo run --release -p nexus-e2e -- durability {{ARGS}}

# Kill, cut off, empty and fill up a fleet and its Redis under load: nothing accepted may be lost. All of it needs
# `--least-events 200000` to count.
faults *ARGS:
    cargo run --release -p nexus-e2e -- faults {{ARGS}}

# Install Nexus on a node with pods, and stop it there, also while parts of it are dead or cut off; as root.
node *ARGS:
    cargo run --release -p nexus-e2e -- node {{ARGS}}

# Fuzz what reads untrusted bytes: every target for a minute, or `just fuzz TARGET SECONDS`.
fuzz *ARGS:
    scripts/fuzz {{ARGS}}

# Check the rule of the latch against longer histories than the tests do (minutes), and print how each broken rule is found.
model EDITS="5":
    NEXUS_MODEL_EDITS={{EDITS}} cargo test --release -p nexus-core --test latch_model -- --nocapture

# Change the latch's code in every way that `cargo mutants` knows, and tell what no test notices (`cargo install cargo-mutants --locked`).
mutants *ARGS:
    cargo mutants -p nexus-core -f core/src/stop.rs -f 'core/src/stop/*.rs' {{ARGS}}

//! Everything that can die, at random moments, whatever runs the tasks: no task is started twice, none is lost, nothing is left
//! afterwards, and a deployment that was under way ends.
//!
//! | what | how |
//! |---|---|
//! | both | kill -9 of `up`, which is master and agents in one process |
//! | master, agent | kill -9 of one role, all being processes of their own |
//! | engine | its end as a restart of the service does it, or kill -9; containers run on (`live-restore`) |
//! | frozen | the engine listens and does not answer, for up to six seconds: longer than it is asked whether it is there |
//! | containers | the same, and the engine ends the containers: each task is replaced |
//!
//! Each at rest and in the middle of a rolling update. Rounds of each: `ZDD_MATRIX_ROUNDS`, 2 unless set; other moments:
//! `ZDD_MATRIX_SEED`, a number.

#![expect(clippy::print_stderr, reason = "the test tells its table")]

mod cluster;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::Instant;
use zddcluster_tests::{Engine, eventually};

use crate::cluster::{Layout, Parts, REVISION_TASKS, Runner};

/// What dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Both,
    Master,
    Agent,
    Engine,
    Frozen,
    Containers,
}

/// What goes on meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Idle,
    Rolling,
}

/// What a cell of the table met.
#[derive(Debug, Default)]
struct Tally {
    n_rounds: u64,
    /// Rounds whose deployment had not ended when the victim died.
    n_in_the_middle: u64,
    n_started: usize,
    /// From the victim's return to the end of the round's deployment and the cluster as it should be.
    longest: Duration,
}

/// A small generator: moments are random, and the same in each run.
struct Moments(u64);

impl Moments {
    fn below(&mut self, limit: Duration) -> Duration {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis((self.0 >> 33) % millis.max(1))
    }
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Kills the victim, and has it come back after a random while.
async fn strike(parts: &mut Parts, victim: Victim, moments: &mut Moments) -> anyhow::Result<()> {
    let away = moments.below(Duration::from_millis(500));
    let roles: &[&'static str] = match victim {
        Victim::Both => &["up"],
        Victim::Master => &["master"],
        Victim::Agent if moments.0 & (1 << 40) == 0 => &["first agent"],
        Victim::Agent => &["second agent"],
        Victim::Frozen => {
            let engine = parts.engine().expect("it has one");
            engine.freeze()?;
            tokio::time::sleep(away * 12).await;
            return engine.thaw();
        }
        Victim::Engine | Victim::Containers => {
            let engine = parts.engine().expect("it has one").clone();
            parts.note_starts()?;
            let is_kill = moments.0 & (1 << 40) == 0;
            if is_kill {
                engine.kill()?;
            } else {
                tokio::task::spawn_blocking({
                    let engine = engine.clone();
                    move || engine.stop()
                })
                .await??;
            }
            tokio::time::sleep(away * 4).await;
            return tokio::task::spawn_blocking(move || engine.start()).await?;
        }
    };
    for role in roles {
        parts.kill(role)?;
    }
    tokio::time::sleep(away).await;
    for role in roles {
        parts.restart(role)?;
    }
    Ok(())
}

/// One cell of the table.
async fn cell(runner: Runner, victim: Victim, moment: Moment) -> anyhow::Result<Tally> {
    let layout = match victim {
        Victim::Both | Victim::Engine | Victim::Frozen | Victim::Containers => Layout::Together,
        Victim::Master | Victim::Agent => Layout::Apart,
    };
    // How long a rolling update takes when nothing disturbs it.
    let update_takes = match runner {
        Runner::Processes => Duration::from_millis(150),
        Runner::Containers(_) => Duration::from_millis(1500),
    };
    if let Runner::Containers(engine) = &runner
        && engine.is_own()
    {
        // From its next start on, which is in a moment.
        engine.keep_containers(victim != Victim::Containers)?;
        engine.stop()?;
        engine.start()?;
    }
    let mut parts = Parts::start(runner, layout).await?;
    parts.post(0).await?;
    let mut before = parts.tasks_of(0).await;
    let seed = number("ZDD_MATRIX_SEED").unwrap_or(0x5eed);
    let mut moments = Moments(seed + 16 * victim as u64 + moment as u64);
    let mut tally = Tally::default();
    let mut revision = 0;
    for round in 0..number("ZDD_MATRIX_ROUNDS").unwrap_or(2) {
        let at = format!("{victim:?}, {moment:?}, seed {seed}, round {round}");
        if moment == Moment::Rolling {
            revision += 1;
            parts.put(revision).await?;
            tokio::time::sleep(moments.below(update_takes)).await;
            if !parts.is_settled().await.unwrap_or(true) {
                tally.n_in_the_middle += 1;
            }
        } else {
            tokio::time::sleep(moments.below(Duration::from_millis(300))).await;
        }
        strike(&mut parts, victim, &mut moments).await?;
        let back = Instant::now();
        parts.agents_are_back().await;
        parts.settled().await;
        let now = parts.tasks_of(revision).await;
        // No orphan: what lives is what the master shows.
        let living = eventually("only the app's tasks to live", || async {
            match parts.living() {
                Ok(living) if living == now => Ok(living),
                Ok(living) => Err(format!("{living:?}, shown {now:?}")),
                Err(error) => Err(format!("{error:#}")),
            }
        })
        .await;
        tally.longest = tally.longest.max(back.elapsed());
        // None started twice, and none lost: each revision took as many starts as it has tasks.
        parts.note_starts()?;
        let started = parts.started()?;
        let expected = (1 + usize::try_from(revision)?) * REVISION_TASKS;
        let of_now: BTreeSet<_> = now.keys().collect();
        assert!(of_now.iter().all(|id| started.contains(*id)), "{at}");
        before = if victim == Victim::Containers {
            let stayed = before.iter().filter(|(id, _)| now.contains_key(*id));
            assert_eq!(stayed.count(), 0, "{at}: {before:?}, now {now:?}");
            now
        } else {
            assert_eq!(
                started.len(),
                expected,
                "{at}: tasks were lost and started anew: {started:?}, before {before:?}, now {now:?}"
            );
            if moment == Moment::Idle {
                assert_eq!(living, before, "{at}");
            }
            now
        };
        tally.n_rounds += 1;
        tally.n_started = started.len();
    }
    parts.stop()?;
    assert_eq!(parts.living()?, BTreeMap::new());
    parts.is_gone().await;
    Ok(tally)
}

async fn table(name: &str, runner: Runner, victims: &[Victim]) -> anyhow::Result<()> {
    let mut table = String::from(
        "| tasks | killed | when | rounds | in the middle | tasks started | longest until all was well |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for &victim in victims {
        for moment in [Moment::Idle, Moment::Rolling] {
            let began = Instant::now();
            let Tally {
                n_rounds,
                n_in_the_middle,
                n_started,
                longest,
            } = Box::pin(cell(runner.clone(), victim, moment)).await?;
            let (victim, moment) = (
                format!("{victim:?}").to_lowercase(),
                format!("{moment:?}").to_lowercase(),
            );
            let line = format!(
                "| {name} | {victim} | {moment} | {n_rounds} | {n_in_the_middle} | {n_started} | {:.1} s |",
                longest.as_secs_f64()
            );
            eprintln!("{line} took {:.0} s", began.elapsed().as_secs_f64());
            writeln!(table, "{line}")?;
        }
    }
    eprintln!("no task twice, none lost but those the engine ended, nothing left:\n{table}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_survive_whatever_dies() -> anyhow::Result<()> {
    let victims = [Victim::Both, Victim::Master, Victim::Agent];
    table("process", Runner::Processes, &victims).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_survive_whatever_dies() -> anyhow::Result<()> {
    let Some(engine) = Engine::find() else {
        return Ok(());
    };
    let mut victims = vec![Victim::Both, Victim::Master, Victim::Agent];
    if engine.is_own() {
        victims.extend([Victim::Engine, Victim::Frozen, Victim::Containers]);
    } else {
        eprintln!("the end of the engine is skipped: others use it, too");
    }
    table("docker", Runner::Containers(engine.clone()), &victims).await?;
    if engine.is_own() {
        // Its own doing, and none of our containers; told, since it is there.
        let n_forgotten = engine.forgotten()?;
        eprintln!("containers the engine forgot in the middle of their start: {n_forgotten}");
    }
    Ok(())
}

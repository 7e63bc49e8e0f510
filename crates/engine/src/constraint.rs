//! Placement constraints on host names and attributes.
//!
//! Only tasks of the present config count, so that old tasks never block new ones during an update. They are counted once for
//! all agents, and the count goes along while instances are placed.
//! Source: contract marathon §1.7, Z10.

use std::collections::BTreeMap;

use regex::Regex;
use zddcluster_model::app::{App, Constraint, Operator};

use crate::state::{Agent, State};

/// The constraints of an app, ready to be asked of many agents.
pub(crate) struct Constraints<'a> {
    all: Vec<Asked<'a>>,
}

/// One constraint with what it needs to know.
struct Asked<'a> {
    constraint: &'a Constraint,
    /// How many counted tasks run on agents with each value of the field.
    counts: BTreeMap<String, u64>,
    /// The value, where it is a number.
    number: Option<u64>,
    /// The value, where it is a pattern.
    pattern: Option<Regex>,
}

impl<'a> Constraints<'a> {
    /// The constraints of an app among its tasks of now.
    pub(crate) fn of(state: &State, app: &'a App) -> Self {
        let ask = |constraint: &'a Constraint| {
            let value = constraint.value.as_deref();
            let pattern = match constraint.operator {
                Operator::Like | Operator::Unlike => value.and_then(whole),
                Operator::Unique | Operator::Cluster | Operator::GroupBy | Operator::MaxPer => None,
            };
            Asked {
                constraint,
                counts: BTreeMap::new(),
                number: value.and_then(|value| value.parse().ok()),
                pattern,
            }
        };
        let mut constraints = Self {
            all: app.constraints.iter().map(ask).collect(),
        };
        if constraints.all.is_empty() {
            return constraints;
        }
        let config = app.config_version();
        let counted = state
            .launched_of(&app.id)
            .filter(|task| task.version >= config);
        for task in counted {
            if let Some(agent) = state.agents.get(&task.agent_id) {
                constraints.count(agent);
            }
        }
        constraints
    }

    /// A task more is on this agent.
    pub(crate) fn count(&mut self, agent: &Agent) {
        for asked in &mut self.all {
            if let Some(value) = field_of(agent, &asked.constraint.field) {
                *asked.counts.entry(value.to_owned()).or_default() += 1;
            }
        }
    }

    /// Those that do not hold for one more task on this agent.
    pub(crate) fn broken_on(&self, agent: &Agent) -> impl Iterator<Item = &'a Constraint> {
        let broken = self.all.iter().filter(|asked| !asked.holds(agent));
        broken.map(|asked| asked.constraint)
    }
}

impl Asked<'_> {
    /// Whether one more task may go to this agent.
    fn holds(&self, agent: &Agent) -> bool {
        let Constraint {
            field,
            operator,
            value,
        } = self.constraint;
        let Some(own) = field_of(agent, field) else {
            return *operator == Operator::Unlike;
        };
        let here = self.counts.get(own).copied().unwrap_or(0);
        let matches = || {
            let pattern = self.pattern.as_ref();
            pattern.is_some_and(|pattern| pattern.is_match(own))
        };
        match operator {
            Operator::Unique => here == 0,
            Operator::Cluster => match value {
                Some(value) if !value.is_empty() => value == own,
                _ => self.counts.keys().all(|value| value == own),
            },
            Operator::GroupBy => {
                let fewest = self.counts.values().copied().min().unwrap_or(0);
                let n_values = self.counts.len() as u64;
                here == 0 || (n_values >= self.number.unwrap_or(0) && here == fewest)
            }
            Operator::Like => matches(),
            Operator::Unlike => !matches(),
            Operator::MaxPer => self.number.is_some_and(|most| here < most),
        }
    }
}

/// A pattern for whole texts. The line break ends a comment that the pattern may end with.
fn whole(pattern: &str) -> Option<Regex> {
    Regex::new(&format!("^(?:{pattern})$"))
        .or_else(|_| Regex::new(&format!("^(?:{pattern}\n)$")))
        .ok()
}

/// What an agent has under a constraint's field.
pub(crate) fn field_of<'a>(agent: &'a Agent, field: &str) -> Option<&'a str> {
    if field == "hostname" {
        Some(&agent.hostname)
    } else {
        agent.attributes.get(field).map(String::as_str)
    }
}

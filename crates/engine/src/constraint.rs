//! Placement constraints on host names and attributes.
//!
//! Only tasks of the present config count, so that old tasks never block new ones during an update.
//! Source: contract marathon §1.7, Z10.

use std::collections::BTreeMap;

use regex::Regex;
use zddcluster_model::app::{App, Constraint, Operator};

use crate::state::{Agent, State};

/// Whether one more task of `app` may go to `agent`.
pub(crate) fn holds(state: &State, agent: &Agent, app: &App, constraint: &Constraint) -> bool {
    let Constraint {
        field,
        operator,
        value,
    } = constraint;
    let Some(own) = field_of(agent, field) else {
        return *operator == Operator::Unlike;
    };
    // How many counted tasks run on agents with each value of the field.
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let config = app.config_version();
    for task in state
        .launched_of(&app.id)
        .filter(|task| task.version >= config)
    {
        if let Some(value) = state
            .agents
            .get(&task.agent_id)
            .and_then(|a| field_of(a, field))
        {
            *counts.entry(value).or_default() += 1;
        }
    }
    let here = counts.get(own).copied().unwrap_or(0);
    let number = value.as_deref().and_then(|value| value.parse::<u64>().ok());
    let matches = |pattern: &str| {
        Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|regex| regex.is_match(own))
    };
    match operator {
        Operator::Unique => here == 0,
        Operator::Cluster => match value {
            Some(value) if !value.is_empty() => value == own,
            _ => counts.keys().all(|value| *value == own),
        },
        Operator::GroupBy => {
            let fewest = counts.values().copied().min().unwrap_or(0);
            here == 0 || (counts.len() as u64 >= number.unwrap_or(0) && here == fewest)
        }
        Operator::Like => value.as_deref().is_some_and(matches),
        Operator::Unlike => !value.as_deref().is_some_and(matches),
        Operator::MaxPer => number.is_some_and(|most| here < most),
    }
}

/// What an agent has under a constraint's field.
pub(crate) fn field_of<'a>(agent: &'a Agent, field: &str) -> Option<&'a str> {
    if field == "hostname" {
        Some(&agent.hostname)
    } else {
        agent.attributes.get(field).map(String::as_str)
    }
}

//! Scripted lives of small clusters.

mod chapters;
mod checking;
mod delaying;
mod deploying;
mod downloading;
mod ending;
mod groups;
mod lives;
mod mended;
mod placing;
mod resident;
mod rollback;
mod simulated;

use serde_json::{Value, json};

fn app(more: Value) -> Value {
    let mut app = json!({ "id": "/a", "cmd": "serve", "instances": 4, "cpus": 0.1, "mem": 32 });
    let more = more.as_object().expect("an object").clone();
    app.as_object_mut().expect("an object").extend(more);
    app
}

fn update(release: u32) -> Value {
    json!({ "env": { "RELEASE": release.to_string() } })
}

fn strategy(min: f64, over: f64) -> Value {
    json!({ "minimumHealthCapacity": min, "maximumOverCapacity": over })
}

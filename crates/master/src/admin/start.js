// Shows apps, deployments and tasks, and looks again whenever an event says that something changed.
"use strict";

const cell = (name, text) => {
  const element = document.createElement(name);
  element.textContent = text === undefined || text === null ? "" : String(text);
  return element;
};

const show = (id, heads, rows) => {
  const place = document.getElementById(id);
  if (rows.length === 0) {
    const none = cell("p", "None.");
    none.className = "none";
    place.replaceChildren(none);
    return;
  }
  const table = document.createElement("table");
  const add = (name, texts) => {
    const row = table.insertRow();
    texts.forEach((text) => row.append(cell(name, text)));
  };
  add("th", heads);
  rows.forEach((row) => add("td", row));
  place.replaceChildren(table);
};

const get = async (path) => {
  const response = await fetch(path, { headers: { Accept: "application/json" } });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
};

const health = (app) => (app.healthChecks.length ? `${app.tasksHealthy} of ${app.instances}` : "no checks");

const look = async () => {
  const [{ apps }, deployments, { tasks }] = await Promise.all([
    get("/v2/apps"), get("/v2/deployments"), get("/v2/tasks"),
  ]);
  show("apps", ["App", "Running", "Healthy", "Version"], apps.map((app) =>
    [app.id, `${app.tasksRunning} of ${app.instances}`, health(app), app.version]));
  show("deployments", ["Deployment", "Step", "Actions"], deployments.map((deployment) =>
    [deployment.id, `${deployment.currentStep} of ${deployment.totalSteps}`,
      deployment.currentActions.map((action) => `${action.action} ${action.app}`).join(", ")]));
  show("tasks", ["Task", "State", "Address", "Version"], tasks.map((task) =>
    [task.id, task.state, task.ports.length ? `${task.host}:${task.ports[0]}` : task.host, task.version]));
};

// Several events close together are one look.
let isDue = false;
let isLooking = false;
const nudge = async () => {
  isDue = true;
  if (isLooking) return;
  isLooking = true;
  while (isDue) {
    isDue = false;
    await look().catch((error) => console.warn(error));
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  isLooking = false;
};

const standing = document.getElementById("standing");
const kinds = ["status_update_event", "health_status_changed_event", "api_post_event", "app_terminated_event",
  "group_change_success", "deployment_info", "deployment_step_success", "deployment_success", "deployment_failed",
  "event_stream_attached"];
const events = new EventSource(`/v2/events?plan-format=light&${kinds.map((kind) => `event_type=${kind}`).join("&")}`);
events.onopen = () => { standing.textContent = "Live"; };
events.onerror = () => { standing.textContent = "The master does not answer. Trying again."; };
kinds.forEach((kind) => events.addEventListener(kind, nudge));
nudge();

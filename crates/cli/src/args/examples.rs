//! What stands under "Examples" in the help of each verb: command lines to copy, for the files in `examples/`.

pub(super) const UP: &str = "\
Examples:
  zddcluster up
  zddcluster up --with marathon-lb --detach
  zddcluster up --speed 20 --agents 3
  zddcluster up --net 127.0.5.0/24 --data-dir /tmp/second    a second cluster beside the first";

pub(super) const DOWN: &str = "\
Examples:
  zddcluster down
  zddcluster down --data-dir /tmp/second";

pub(super) const STATUS: &str = "\
Examples:
  zddcluster status
  zddcluster --output json status | jq .apps";

pub(super) const EXPLAIN: &str = "\
Examples:
  zddcluster explain
  zddcluster explain /zdd/base
  zddcluster --output json explain /zdd/base | jq .queue.refusals";

pub(super) const ZDD: &str = "\
Exit codes are zdd.py's: 0 done, 1 you said no, 2 unforeseen, 3 flags exclude each other,
4 something is missing, 5 no edge, 6 no Marathon, 7 not created, 8 not deleted, 9 not scaled or killed.

Examples:
  zddcluster zdd blue.json --group zdd --alt-port 10081    the first app of the group
  zddcluster zdd green.json --group zdd --port 10080 --alt-port 10081
  zddcluster zdd green.json --pause-at 25%                 then --complete-cur or --rollback
  zddcluster zdd -j app.json -m http://marathon:8080 -l http://marathon-lb:9090 -f";

pub(super) const PLAN: &str = "\
Ends with 1 if the update cannot finish. Nothing is changed.

Examples:
  zddcluster plan /zdd/base instances=8
  sed 's/\"0.9\"/\"1.0\"/' examples/default/base.json | zddcluster plan -
  zddcluster plan blue.json green.json --fails 1    what if one new task never gets healthy?
  zddcluster plan new.json --agents 2 --cpus 2 --from old.json    without any cluster";

pub(super) const ENV: &str = "\
Examples:
  eval \"$(zddcluster env)\"
  zddcluster env --shell fish | source";

pub(super) const PROBE: &str = "\
Examples:
  zddcluster probe http://127.0.0.2:10080/endpoint0    until Ctrl-C, then the account
  zddcluster probe http://127.0.0.2:10080/endpoint0 --rate 200 --duration 60 --fresh";

pub(super) const DCOS: &str = "\
Examples:
  dcos marathon app add examples/default/base.json
  dcos marathon task list /zdd/base
  dcos package install marathon-lb --yes";

pub(super) const COMPLETIONS: &str = "\
Examples:
  source <(zddcluster completions bash)
  zddcluster completions fish --for dcos > ~/.config/fish/completions/dcos.fish";

pub(super) const MASTER: &str = "\
Example, a cluster of single roles:
  zddcluster master --data-dir /srv/zdd
  zddcluster agent --work-dir /srv/zdd/agent-11
  zddcluster agent --work-dir /srv/zdd/agent-2 --hostname 127.0.0.2 --public
  zddcluster dns --data-dir /srv/zdd
  zddcluster down --data-dir /srv/zdd    ends them all, and the tasks";

pub(super) const AGENT: &str = "\
Examples:
  zddcluster agent --work-dir /srv/zdd/agent-11
  zddcluster agent --work-dir /srv/zdd/agent-2 --hostname 127.0.0.2 --public";

pub(super) const DNS: &str = "\
--config also takes the config.json of a Mesos-DNS.

Examples:
  zddcluster dns --listen 127.0.0.1:8053
  dig @127.0.0.1 -p 8053 _base-zdd._tcp.marathon.mesos SRV
  zddcluster dns --masters 10.0.0.1:5050,10.0.0.2:5050    the names of a real Mesos
  zddcluster dns --externalon --resolvers 10.0.0.53    and of the rest of the world
  zddcluster dns --config /etc/mesos-dns/config.json
  zddcluster dns install --dry-run    shows how this machine would ask it";

pub(super) const EDGE: &str = "\
Example:
  zddcluster edge --host 127.0.0.2 sse -m http://127.0.0.1:8080 --health-check --group external";

pub(super) const SIMPLESERVICE: &str = "\
Example:
  PORT0=9876 SIMPLE_SERVICE_VERSION=1.0 HEALTH_MAX=500 zddcluster simpleservice
  curl 127.0.0.1:9876/endpoint0";

pub(super) const MARATHON_APP: &str = "\
Examples:
  dcos marathon app add examples/default/base.json
  dcos marathon app update /zdd/base instances=5
  dcos marathon app restart /zdd/base";

pub(super) const APP_ADD: &str = "\
Examples:
  dcos marathon app add examples/default/base.json
  dcos marathon app add < examples/blue-green/blue.json";

pub(super) const APP_SHOW: &str = "\
Examples:
  dcos marathon app show /zdd/base | jq .instances
  dcos marathon app show /zdd/base --app-version=-1";

pub(super) const APP_UPDATE: &str = "\
Examples:
  dcos marathon app update /zdd/base instances=5
  dcos marathon app update /zdd/base < examples/default/base.json";

pub(super) const APP_START: &str = "\
Example:
  dcos marathon app start /zdd/base 4";

pub(super) const APP_KILL: &str = "\
Examples:
  dcos marathon app kill /zdd/base
  dcos marathon app kill /zdd/base --host 127.0.0.11 --scale";

pub(super) const MARATHON_GROUP: &str = "\
Examples:
  dcos marathon group list
  dcos marathon group scale /zdd 2
  dcos marathon group remove /zdd";

pub(super) const GROUP_ADD: &str = "\
Examples:
  dcos marathon group add shop.json
  echo '{\"id\": \"/shop\", \"apps\": [{\"id\": \"db\", \"cmd\": \"sleep 1000\"}]}' | dcos marathon group add";

pub(super) const GROUP_UPDATE: &str = "\
Listed apps and groups take the place of the present ones; those that are not listed are removed.

Examples:
  dcos marathon group update /shop < shop.json
  dcos marathon group update /shop dependencies='[\"/db\"]'";

pub(super) const DEPLOYMENT: &str = "\
Examples:
  dcos marathon deployment list
  dcos marathon deployment watch c4d98f1e-074d-4ceb-8248-f490134fa555
  dcos marathon deployment rollback c4d98f1e-074d-4ceb-8248-f490134fa555";

pub(super) const MARATHON_TASK: &str = "\
Examples:
  dcos marathon task list /zdd/base
  dcos marathon task stop zdd_base.3aa4ece0-e854-11f1-8000-11ef3b0880a2";

pub(super) const TASK: &str = "\
Examples:
  dcos task
  dcos task zdd_base --json
  dcos task log --follow zdd_base";

pub(super) const TASK_LOG: &str = "\
Examples:
  dcos task log --lines 50 zdd_base
  dcos task log --follow zdd_base stderr";

pub(super) const PACKAGE: &str = "\
Examples:
  dcos package search lb
  dcos package install marathon-lb --yes
  dcos package list
  dcos package uninstall marathon-lb";

pub(super) const PACKAGE_DESCRIBE: &str = "\
Examples:
  dcos package describe marathon-lb
  dcos package describe --config marathon-lb
  dcos package describe --app --render --options options.json marathon-lb";

pub(super) const PACKAGE_INSTALL: &str = "\
Examples:
  dcos package install marathon-lb
  dcos package install marathon-lb --yes --options options.json";

pub(super) const NODE: &str = "\
Examples:
  dcos node
  dcos node --field cpus:resources.cpus --field attributes.rack
  dcos node log --leader --follow
  dcos node dns base-zdd.marathon.mesos";

pub(super) const SSH: &str = "\
Examples:
  dcos node ssh --leader --user me
  dcos node ssh --mesos-id 145f052d-8bcb-457f-b1e6-b1b4e2cdf787-S1 uptime";

pub(super) const SERVICE: &str = "\
Examples:
  dcos service
  dcos service log elasticsearch";

pub(super) const TASK_LS: &str = "\
Examples:
  dcos task ls zdd_base
  dcos task ls --long zdd_base";

pub(super) const EXEC: &str = "\
Works where the task runs: on this machine, as the user who runs the cluster.

Examples:
  zddcluster exec zdd_base env
  zddcluster exec -it zdd_base sh";

pub(super) const DEBUG: &str = "\
Examples:
  dcos marathon debug list
  dcos marathon debug summary /zdd/base
  zddcluster explain /zdd/base    the same in words, and what would help";

pub(super) const CONFIG: &str = "\
The settings are in ~/.dcos (or $DCOS_DIR), as the original client keeps them; DCOS_URL goes before
core.dcos_url.

Examples:
  dcos config set core.dcos_url http://127.0.0.1:8080
  dcos config show core.dcos_url";

pub(super) const CLUSTER: &str = "\
Examples:
  dcos cluster setup http://127.0.0.1:8080
  dcos cluster list
  dcos cluster rename zdd lab";

pub(super) const AUTH: &str = "\
Examples:
  dcos auth login --username ada --password-file password
  dcos auth logout";

pub(super) const LOGS: &str = "\
Each line has the short id of its task before it, on a terminal in a colour of its own.

Examples:
  zddcluster logs /zdd/base
  zddcluster logs --follow --lines 0 /zdd/base
  zddcluster logs --file stderr /zdd/base";

pub(super) const SHELL: &str = "\
Ends as the shell or the command ends. Names resolve where the system allows a mount namespace; else
it is said what to do.

Examples:
  zddcluster shell
  zddcluster shell curl http://base-zdd.marathon.mesos:31000/endpoint0
  zddcluster shell -- sh -c 'getent hosts leader.mesos'";

pub(super) const DOCTOR: &str = "\
Ends with 1 if a cluster could not start, or not as it was asked for.

Examples:
  zddcluster doctor
  zddcluster doctor --net 127.0.5.0/24
  zddcluster --output json doctor | jq '.checks[] | select(.verdict != \"ok\")'";

pub(super) const DNS_INSTALL: &str = "\
Only names below the domain `mesos` go to the cluster's DNS server; all others as before. It needs
root.

Examples:
  zddcluster dns install --dry-run
  sudo zddcluster dns install --data-dir ~/.local/share/zddcluster --yes";

pub(super) const DNS_UNINSTALL: &str = "\
Examples:
  zddcluster dns uninstall --dry-run
  sudo zddcluster dns uninstall --yes";

pub(super) const MAN: &str = "\
Example:
  zddcluster man --dir ~/.local/share/man/man1";

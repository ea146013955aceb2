//! P3 under a real systemd: who is taken for which unit, and who would like to be.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use serde_json::Value;
use softhsm_tests::{
    Site,
    intruder::STRANGER,
    machine::Machine,
    text, until,
    verdict::{is_delivered, is_denied},
};

/// A machine whose daemon holds `web/key`, granted to `selectors`.
fn furnished<'a>(site: &'a Site, test: &str, selectors: &[&str]) -> Option<Machine<'a>> {
    let machine = site.machine(test)?;
    machine.furnish(selectors);
    Some(machine)
}

/// The command line of a client that asks for `web/key`.
fn fetch(site: &Site) -> String {
    format!(
        "/usr/bin/peer-intruder fetch {} web key",
        site.provider_socket()
    )
}

#[test]
fn a_service_is_the_unit_it_was_started_as_and_no_other() {
    let site = Site::new();
    let test = "a_service_is_the_unit_it_was_started_as_and_no_other";
    let Some(machine) = furnished(&site, test, &["systemd:id:nginx.service"]) else {
        return;
    };
    let fetch = fetch(&site);
    is_denied(&machine.told("nginx-debug.service", &fetch, ""));
    let denial = site.is_on_record_as("no-grant");
    assert_eq!(denial["caller"]["unit"], "nginx-debug.service");
    assert_eq!(
        denial["caller"]["cgroup"],
        "/system.slice/nginx-debug.service"
    );

    // A dynamic user has a /tmp of its own.
    let more = format!(
        "DynamicUser=yes\nSlice=web-front.slice\nBindReadOnlyPaths={}",
        site.path("run").display()
    );
    is_delivered(&machine.told("nginx.service", &fetch, &more));
    let allowed = site.is_on_record_as_allowed();
    assert_eq!(allowed["caller"]["unit"], "nginx.service");
    let cgroup = "/web.slice/web-front.slice/nginx.service";
    assert_eq!(allowed["caller"]["cgroup"], cgroup);
}

#[test]
fn another_uid_s_delegated_unit_that_builds_the_granted_one_below_itself_is_denied() {
    let site = Site::new();
    let test = "another_uid_s_delegated_unit_that_builds_the_granted_one_below_itself_is_denied";
    let Some(machine) = furnished(&site, test, &["systemd:id:nginx.service"]) else {
        return;
    };
    let spoof = format!(
        "/bin/sh -c 'cd /sys/fs/cgroup/system.slice/spoof.service \
         && mkdir -p system.slice/nginx.service \
         && echo $$$$ >system.slice/nginx.service/cgroup.procs && exec {}'",
        fetch(&site)
    );
    is_denied(&machine.told("spoof.service", &spoof, "User=stranger\nDelegate=yes"));
    let denial = site.is_on_record_as("no-grant");
    assert_eq!(denial["caller"]["uid"], STRANGER);
    assert_eq!(denial["caller"]["unit"], "spoof.service");
    let cgroup = "/system.slice/spoof.service/system.slice/nginx.service";
    assert_eq!(denial["caller"]["cgroup"], cgroup);
}

#[test]
fn a_delegated_unit_cannot_move_into_the_granted_one() {
    let site = Site::new();
    let test = "a_delegated_unit_cannot_move_into_the_granted_one";
    let Some(machine) = furnished(&site, test, &["systemd:id:nginx.service"]) else {
        return;
    };
    let nginx = "[Service]\nExecStart=/bin/sleep infinity\nUser=stranger\nDelegate=yes\n";
    machine.unit("nginx.service", nginx);
    machine.start("nginx.service");
    // Both belong to one user, who may write to either's list of processes.
    let intrude = format!(
        "/bin/sh -c 'echo $$$$ >/sys/fs/cgroup/system.slice/nginx.service/cgroup.procs; exec {}'",
        fetch(&site)
    );
    is_denied(&machine.told("intruder.service", &intrude, "User=stranger\nDelegate=yes"));
    let denial = site.is_on_record_as("no-grant");
    assert_eq!(denial["caller"]["unit"], "intruder.service");
}

/// A user's manager without a login: what `user@.service` of the distribution is, less
/// PAM and what prepares the folder.
const USER_MANAGER: &str = "\
[Service]
User=%i
Type=notify
ExecStartPre=+/bin/install -d -m 0700 -o %i -g 0 /run/user/%i
Environment=XDG_RUNTIME_DIR=/run/user/%i
Environment=SYSTEMD_UNIT_PATH=/run/user-units HOME=/
ExecStart=/usr/lib/systemd/systemd --user --unit=basic.target
Slice=user-%i.slice
Delegate=yes
";

/// What a stranger is answered whose own service manager runs a nginx.service that asks.
fn user_s_nginx(site: &Site, machine: &Machine<'_>) -> Value {
    let answer = site.path("answer");
    std::fs::write(&answer, "").unwrap();
    std::os::unix::fs::chown(&answer, Some(STRANGER), None).unwrap();
    let nginx = format!(
        "[Unit]\nDefaultDependencies=no\n\
         [Service]\nType=oneshot\nExecStart={}\nStandardOutput=truncate:{}\n",
        fetch(site),
        answer.display()
    );
    machine.write("/run/user-units/nginx.service", &nginx);
    machine.write("/run/user-units/basic.target", "[Unit]\nDescription=Up\n");
    machine.unit("user@.service", USER_MANAGER);
    machine.start("user@1234.service");
    let user = [
        "--reuid=stranger",
        "--clear-groups",
        "env",
        "XDG_RUNTIME_DIR=/run/user/1234",
    ];
    machine.run(
        "setpriv",
        &[
            &user[..],
            &["systemctl", "--user", "start", "nginx.service"],
        ]
        .concat(),
    );
    let answer = std::fs::read(&answer).unwrap();
    serde_json::from_slice(&answer).unwrap()
}

#[test]
fn a_user_s_own_nginx_is_not_the_system_s() {
    let site = Site::new();
    let test = "a_user_s_own_nginx_is_not_the_system_s";
    let Some(machine) = furnished(&site, test, &["systemd:id:nginx.service"]) else {
        return;
    };
    is_denied(&user_s_nginx(&site, &machine));
    let denial = site.is_on_record_as("no-grant");
    assert_eq!(denial["caller"]["uid"], STRANGER);
    assert_eq!(denial["caller"]["unit"], "user@1234.service");
    let cgroup = denial["caller"]["cgroup"].as_str().unwrap();
    assert!(cgroup.ends_with("/nginx.service"), "{cgroup}");
}

#[test]
fn the_system_s_nginx_is_not_the_user_s_own() {
    let site = Site::new();
    let test = "the_system_s_nginx_is_not_the_user_s_own";
    let own = ["unix:uid:1234", "systemd:user_unit:nginx.service"];
    let Some(machine) = furnished(&site, test, &own) else {
        return;
    };
    is_denied(&machine.told("nginx.service", &fetch(&site), "User=stranger"));
    let denial = site.is_on_record_as("no-grant");
    assert_eq!(denial["caller"]["uid"], STRANGER);
    assert_eq!(denial["caller"].get("user_unit"), None);

    is_delivered(&user_s_nginx(&site, &machine));
    let allowed = site.is_on_record_as_allowed();
    assert_eq!(allowed["caller"]["user_unit"], "nginx.service");
}

/// What root's transient nginx.service is answered, which is run by a stranger.
fn transient(site: &Site, machine: &Machine<'_>) -> Value {
    let socket = site.provider_socket();
    let client = ["/usr/bin/peer-intruder", "fetch", &socket, "web", "key"];
    let answer = machine.run("systemd-run", &[&TRANSIENT[..], &client].concat());
    serde_json::from_str(&answer).unwrap()
}

const TRANSIENT: [&str; 6] = [
    "--quiet",
    "--pipe",
    "--wait",
    "--collect",
    "--uid=stranger",
    "--unit=nginx.service",
];

#[test]
fn root_s_transient_unit_is_not_the_one_that_the_granted_file_defines() {
    let site = Site::new();
    let test = "root_s_transient_unit_is_not_the_one_that_the_granted_file_defines";
    let defined = [
        "systemd:id:nginx.service",
        "systemd:fragment_path:/etc/systemd/system/nginx.service",
    ];
    let Some(machine) = furnished(&site, test, &defined) else {
        return;
    };
    is_denied(&transient(&site, &machine));
    let denial = site.is_on_record_as("no-grant");
    assert_eq!(denial["caller"]["unit"], "nginx.service");

    is_delivered(&machine.told("nginx.service", &fetch(&site), "User=stranger"));
    let allowed = site.is_on_record_as_allowed();
    assert_eq!(
        allowed["caller"]["fragment"],
        defined[1].rsplit_once(':').unwrap().1
    );
}

/// Documents what a grant by id cannot tell apart, and only root can make.
#[test]
fn root_s_transient_unit_of_the_granted_name_is_that_unit() {
    let site = Site::new();
    let test = "root_s_transient_unit_of_the_granted_name_is_that_unit";
    let Some(machine) = furnished(&site, test, &["systemd:id:nginx.service"]) else {
        return;
    };
    is_delivered(&transient(&site, &machine));
    let allowed = site.is_on_record_as_allowed();
    assert_eq!(allowed["caller"]["unit"], "nginx.service");
    assert_eq!(allowed["caller"]["uid"], STRANGER);

    let unprivileged = ["--reuid=stranger", "--clear-groups", "systemd-run"];
    let refused = machine
        .command("setpriv")
        .args([&unprivileged[..], &TRANSIENT, &["/usr/bin/true"]].concat())
        .output()
        .unwrap();
    assert!(!refused.status.success(), "{}", text(&refused));
    assert_eq!(site.entries("allow").len(), 1);
}

#[test]
fn a_watch_ends_with_the_process_of_the_unit_though_a_child_survives_its_restart() {
    let site = Site::new();
    let test = "a_watch_ends_with_the_process_of_the_unit_though_a_child_survives_its_restart";
    let Some(machine) = furnished(&site, test, &["systemd:id:nginx.service"]) else {
        return;
    };
    let heard = site.path("heard");
    let watch = format!(
        "[Service]\nExecStart=/usr/bin/peer-intruder watch {} web key\nKillMode=process\n\
         StandardOutput=append:{}\n",
        site.provider_socket(),
        heard.display()
    );
    let lines = || std::fs::read_to_string(&heard).unwrap_or_default();
    machine.unit("nginx.service", &watch);
    machine.start("nginx.service");
    until("it watches", || (lines() == "\n").then_some(()));
    machine.run("systemctl", &["restart", "nginx.service"]);
    until("it watches again", || {
        (lines().matches("\n").count() >= 2).then_some(())
    });
    let content = site.path("content");
    let content = content.to_str().unwrap();
    machine.ctl(&["secret", "put", "web/key", "--type", "blob", content]);
    let heard = until("the child hears the end", || {
        let all = lines();
        let line = all.lines().find(|line| line.starts_with('{'))?;
        all.ends_with('\n').then(|| line.to_owned())
    });
    assert_eq!(heard, r#"{"messages":0}"#);
    assert_eq!(machine.property("nginx.service", "ActiveState"), "active");
}

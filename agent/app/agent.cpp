// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/app/agent.hpp"

#include <sys/stat.h>

#include <algorithm>

#include <filesystem>

#include <spdlog/spdlog.h>

#include "agent/app/foreign_view.hpp"
#include "agent/app/hook_probe.hpp"
#include "agent/app/host.hpp"
#include "agent/app/instance_lock.hpp"
#include "agent/bpf/accel_probe.hpp"
#include "agent/bpf/conn_reader.hpp"
#include "agent/bpf/netns.hpp"
#include "agent/bpf/pins.hpp"
#include "weft/abi/event.h"

namespace weft::app {
namespace {

using std::chrono::milliseconds;

/// How often waiting CNI requests and vanished namespaces are looked at.
constexpr milliseconds kEnrolTick{100};

/// When sockets that escaped the first look at stale backends are looked for again.
constexpr milliseconds kReapAgain{300};

Result<> make_directory(const std::string& path, unsigned mode) {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    if (error) {
        return failure(error.value(), "run_dir {}: {}", path, error.message());
    }
    (void)::chmod(path.c_str(), mode); // a folder that an administrator made stays usable whatever its mode
    return {};
}

} // namespace

Agent::Agent(Options options, Loop& loop) : options_(std::move(options)), loop_(loop) {}

Agent::~Agent() {
    enrol_server_.reset(); // first, so that no request is posted to a half-gone agent
}

Result<std::unique_ptr<Agent>> Agent::start(Options options, Loop& loop) {
    std::unique_ptr<Agent> agent(new Agent(std::move(options), loop));
    WEFT_TRY(agent->begin());
    return agent;
}

Result<> Agent::begin() {
    if (options_.cgroup_path.empty()) {
        WEFT_ASSIGN(options_.cgroup_path, cgroup2_mount());
    }
    node_.node_name = options_.node_name;
    WEFT_ASSIGN(node_.host_netns_cookie, own_netns_cookie());
    WEFT_ASSIGN(node_.host_addresses, host_addresses());
    WEFT_TRY(make_directory(options_.run_dir, 0755));
    WEFT_ASSIGN(run_dir_lock_, lock_folder("run_dir", options_.run_dir));
    WEFT_TRY(bpf::PinLayout(options_.pin_dir).create());
    WEFT_ASSIGN(pin_dir_lock_, lock_folder("pin_dir", options_.pin_dir));

    WEFT_ASSIGN(auto folder, source::ManifestFolder::open(options_.manifests));
    folder_ = std::make_unique<source::ManifestFolder>(std::move(folder));
    WEFT_TRY(folder_->load_all(store_));
    WEFT_ASSIGN(auto registry, enrol::EndpointRegistry::open(options_.run_dir + "/endpoints", bpf::netns_cookie));
    start_enrolment(std::move(registry));

    WEFT_TRY(open_mesh());
    choose_acceleration();
    WEFT_TRY(open_datapath());
    WEFT_TRY(probe_hooks(options_.cgroup_path));
    if (mesh_) {
        WEFT_TRY(mesh_->open(*datapath_));
        mesh_changed_ = true;
        sync();
    }
    WEFT_TRY(watch_sources());

    enrol_handler_ = std::make_unique<enrol::PostingHandler>(
        *enrolment_, [this](std::function<void()> work) { loop_.post(std::move(work)); });
    enrol::ServerOptions server;
    server.path = options_.run_dir + "/enrol.sock";
    WEFT_ASSIGN(enrol_server_, enrol::EnrolServer::start(server, *enrol_handler_));
    return {};
}

Result<> Agent::open_mesh() {
    if (options_.ca_address.empty() && options_.identity_files.empty() && options_.workload_api.empty()) {
        return {};
    }
    node_.mesh = true;
    node_.foreign = all_blocks(options_.federation_addresses);
    node_.foreign_dialled = all_blocks(options_.federation_dial);
    WEFT_ASSIGN(mesh_, MeshControl::start(options_, loop_, [this] {
                    mesh_changed_ = true;
                    sync();
                }));
    node_.dial_ports = mesh_->dial_ports();
    return {};
}

void Agent::choose_acceleration() {
    using compiler::Acceleration;
    node_.acceleration = options_.acceleration == "off"  ? Acceleration::kOff
                         : options_.acceleration == "on" ? Acceleration::kOn
                                                         : Acceleration::kAuto;
    if (node_.acceleration == Acceleration::kOff) {
        spdlog::info("event=acceleration configured=off");
        return;
    }
    const auto rules = bpf::probe_acceleration();
    if (!rules) {
        spdlog::warn("event=acceleration configured={} auto=off error=\"{}\"", options_.acceleration,
                     rules.error().message());
        return;
    }
    std::string broken;
    for (const auto& rule : *rules) {
        if (!rule.kept) {
            broken += (broken.empty() ? "" : ",") + std::string(rule.name);
        }
    }
    node_.acceleration_proven = broken.empty();
    spdlog::info("event=acceleration configured={} auto={} broken={}", options_.acceleration,
                 node_.acceleration_proven ? "on" : "off", broken.empty() ? "none" : broken);
}

void Agent::update_mesh(const store::Snapshot& snapshot) {
    if (mesh_) {
        const auto now = compiler::Transit::Clock::now();
        node_.in_transit = transit_.update(snapshot, now);
        if (const auto next = transit_.next(); next && next != next_arrival_) {
            loop_.after(*next - now, [this] {
                mesh_changed_ = true;
                sync();
            });
        }
        next_arrival_ = transit_.next();
        mesh_->update(snapshot, node_.in_transit);
        node_.dial_ports = mesh_->dial_ports();
    }
    mesh_changed_ = false;
}

void Agent::start_enrolment(enrol::EndpointRegistry registry) {
    registry_ = std::make_unique<enrol::EndpointRegistry>(std::move(registry));
    enrol::ControlHooks hooks;
    hooks.publish = [this](const store::LocalEndpoint& endpoint) { store_.set_endpoint(endpoint); };
    hooks.withdraw = [this](const std::string& container) {
        store_.remove_endpoint(container);
        loop_.post([this] { sync(); });
    };
    hooks.pod_known = [this](const std::string& ns, const std::string& pod) {
        return store_.snapshot()->pods->contains({ns, pod});
    };
    hooks.when_applied = [this](const store::LocalEndpoint& endpoint, const std::function<void(Result<>)>& done) {
        sync();
        done(in_force(endpoint));
    };
    hooks.ready = [this]() -> Result<> {
        if (!datapath_) {
            return failure(EAGAIN, "the agent is starting; try again");
        }
        return {};
    };
    enrol::EnrolmentOptions enrol_options;
    enrol_options.host_cookie = node_.host_netns_cookie;
    enrolment_ = std::make_unique<enrol::Enrolment>(*registry_, std::move(hooks), enrol_options);
    const auto restored = enrolment_->restore();
    for (const auto& record : restored.dropped) {
        spdlog::info("event=endpoint-gone pod={}/{} reason=\"its network namespace is gone\"",
                     record.endpoint.namespace_name, record.endpoint.pod_name);
    }
    for (const auto& error : restored.errors) {
        spdlog::warn("event=endpoint-record-ignored error=\"{}\"", error.message());
    }
}

Result<> Agent::open_datapath() {
    compile();
    log_refusals();
    reconciler_.set_config_flags((options_.unknown_workloads == "allow" ? WEFT_CONFIG_ALLOW_UNKNOWN : 0U) |
                                 (options_.flow_events ? 0U : WEFT_CONFIG_EVENTS_OFF) |
                                 (options_.udp_flow_timeout.count() > 0 ? 0U : WEFT_CONFIG_UDP_OFF));
    bpf::DatapathOptions wanted;
    wanted.pin_dir = options_.pin_dir;
    wanted.cgroup_path = options_.cgroup_path;
    wanted.sizes = sizes_.count(*desired_);
    wanted.traffic_entries = options_.traffic_entries;
    reconcile::ApplyStats stats;
    const auto fill = [&](const bpf::ConfigMaps& maps) -> Result<> {
        WEFT_TRY(reconciler_.bind(maps));
        WEFT_ASSIGN(stats, reconciler_.apply(*desired_));
        return {};
    };
    WEFT_ASSIGN(auto datapath, bpf::Datapath::open(std::move(wanted), fill));
    datapath_ = std::make_unique<bpf::Datapath>(std::move(datapath));
    report(stats);
    publish_state();
    const auto& opened = datapath_->stats();
    spdlog::info("event=udp-reaper-ready by={} reason=\"{}\"", reaper_.mechanism(), reaper_.reason());
    spdlog::info("event=datapath-ready attached={} replaced={} moved={} maps={} services={} endpoints={}",
                 opened.attached, opened.replaced, opened.reattached, opened.maps_adopted ? "adopted" : "new",
                 desired_->services.size(), desired_->policy->endpoints.size());
    return {};
}

Result<> Agent::watch_sources() {
    WEFT_TRY(loop_.watch(folder_->fd(), [this] {
        if (auto changed = folder_->read(store_); !changed) {
            spdlog::error("event=source-failed error=\"{}\" effect=\"the last good state stays in force\"",
                          changed.error().message());
        }
        sync();
    }));
    WEFT_ASSIGN(address_watch_, watch_addresses());
    WEFT_TRY(loop_.watch(address_watch_.get(), [this] {
        drain(address_watch_.get());
        refresh_host();
        sync();
    }));
    loop_.every(options_.repair_interval, [this] { repair(); });
    loop_.every(kEnrolTick, [this] {
        for (const auto& gone : enrolment_->tick()) {
            spdlog::info("event=endpoint-gone pod={}/{} reason=\"its network namespace is gone\"",
                         gone.endpoint.namespace_name, gone.endpoint.pod_name);
        }
    });
    return {};
}

void Agent::refresh_host() {
    auto addresses = host_addresses();
    if (!addresses) {
        spdlog::error("event=addresses-failed error=\"{}\"", addresses.error().message());
    } else if (*addresses != node_.host_addresses) {
        node_.host_addresses = std::move(*addresses);
        host_changed_ = true;
    }
}

void Agent::compile() {
    snapshot_ = store_.snapshot();
    auto desired = std::make_shared<compiler::DesiredState>(compiler_.compile(*snapshot_, node_));
    desired->services.insert_or_assign(probe_service()->service_id, probe_service());
    desired_ = std::move(desired); // the published picture keeps the old one alive until the maps are written
    host_changed_ = false;
}

void Agent::log_refusals() {
    std::vector<store::Refusal> all = *snapshot_->refusals;
    all.insert(all.end(), desired_->refusals.begin(), desired_->refusals.end());
    for (const auto& refusal : all) {
        if (std::ranges::find(logged_refusals_, refusal) == logged_refusals_.end()) {
            spdlog::error("event=refused object=\"{}\" at={}:{} field={} error=\"{}\" last_good_in_force={}",
                          refusal.key.to_string(), refusal.origin.file, refusal.origin.line, refusal.field,
                          refusal.message, refusal.last_good_in_force);
        }
    }
    logged_refusals_ = std::move(all);
}

void Agent::sync() {
    const auto snapshot = store_.snapshot();
    if (snapshot == snapshot_ && !host_changed_ && !failed_last_ && !mesh_changed_) {
        return;
    }
    update_mesh(*snapshot);
    const bool pods_changed = !snapshot_ || snapshot->pods != snapshot_->pods;
    compile();
    log_refusals();
    if (auto written = write_maps(); !written) {
        failed_last_ = true;
        spdlog::error("event=sync-failed error=\"{}\" effect=\"the maps keep their last good state\"",
                      written.error().message());
    }
    publish_state();
    if (mesh_ && !failed_last_) {
        mesh_->publish(*snapshot_, *desired_);
    }
    if (pods_changed) {
        enrolment_->pods_changed();
    }
}

Result<> Agent::write_maps() {
    const auto sizes = sizes_.count(*desired_);
    if (!bpf::fits(sizes, datapath_->maps())) {
        reconcile::ApplyStats stats;
        const auto grown = datapath_->grow(sizes, [&](const bpf::ConfigMaps& maps) -> Result<> {
            WEFT_TRY(reconciler_.bind(maps));
            WEFT_ASSIGN(stats, reconciler_.apply(*desired_));
            return {};
        });
        if (grown) {
            spdlog::info("event=maps-grown services={}", desired_->services.size());
            report(stats);
            if (mesh_) {
                WEFT_TRY(mesh_->reload(*datapath_));
            }
            return {};
        }
        spdlog::error("event=grow-failed error=\"{}\" effect=\"the present maps are used as far as they reach\"",
                      grown.error().message());
        WEFT_TRY(reconciler_.bind(datapath_->maps()));
    }
    WEFT_ASSIGN(const auto stats, reconciler_.apply(*desired_));
    report(stats);
    return {};
}

void Agent::report(const reconcile::ApplyStats& stats) {
    failed_last_ = !stats.failures.empty();
    for (const auto& failed : stats.failures) {
        spdlog::error("event=write-failed object=\"{}\" map={} error=\"{}\"", failed.object, failed.map,
                      failed.error.message());
    }
    spdlog::debug("event=synced written={} removed={} services_changed={} revision={}", stats.written, stats.removed,
                  stats.services_changed, stats.revision);
    auto picture = std::make_shared<Picture>();
    if (const auto old = published_.get()) {
        *picture = *old;
    }
    picture->failures = stats.failures;
    picture->revision = stats.revision;
    published_.set(std::move(picture));
    guard_veths();
    reap(stats.removed_udp_backends);
}

void Agent::guard_veths() {
    const auto program = datapath_->program_fd("weft_wire");
    const auto devices = datapath_->map_fd("weft_veth");
    if (!program || !devices) {
        return; // a data path without them was refused at load
    }
    std::map<std::uint64_t, std::string> pods;
    for (const auto& [container, endpoint] : *snapshot_->endpoints) {
        pods.emplace(endpoint.netns_cookie, endpoint.netns_path);
    }
    const auto stats = veths_.apply(*program, *devices, pods);
    for (const auto& path : stats.unguarded) {
        spdlog::warn("event=veth-missing netns={} effect=\"packet sockets in it are not judged on the wire\"", path);
    }
    for (const auto& error : stats.errors) {
        spdlog::error("event=veth-failed error=\"{}\" effect=\"packet sockets of that pod are not judged\"",
                      error.message());
    }
}

void Agent::publish_state() {
    auto picture = std::make_shared<Picture>();
    if (const auto old = published_.get()) {
        *picture = *old;
    }
    picture->desired = desired_;
    picture->snapshot = snapshot_;
    if (datapath_) {
        picture->maps = datapath_->maps();
    }
    const auto trouble = folder_->trouble();
    picture->source_trouble = trouble ? trouble->message() : "";
    if (!trouble && !failed_last_) {
        picture->synced_at = std::chrono::steady_clock::now();
    }
    published_.set(std::move(picture));
}

void Agent::repair() {
    if (auto changed = folder_->rescan(store_); !changed) {
        spdlog::error("event=source-failed error=\"{}\" effect=\"the last good state stays in force\"",
                      changed.error().message());
    }
    refresh_host();
    sync();
    veths_.distrust();
    guard_veths();
    const auto drift = reconciler_.repair();
    if (!drift) {
        spdlog::error("event=repair-failed error=\"{}\"", drift.error().message());
        return;
    }
    auto picture = std::make_shared<Picture>(*published_.get());
    for (const auto& [map, found] : drift->maps) {
        spdlog::warn("event=drift-repaired map={} missing={} changed={} extra={}", map, found.missing, found.changed,
                     found.extra);
        auto& total = picture->drift[map];
        total.missing += found.missing;
        total.changed += found.changed;
        total.extra += found.extra;
    }
    published_.set(std::move(picture));
    publish_state();
}

Result<> Agent::in_force(const store::LocalEndpoint& endpoint) {
    const auto wanted = desired_->policy->endpoints.find(endpoint.netns_cookie);
    if (wanted == desired_->policy->endpoints.end()) {
        return failure(EAGAIN, "pod {}/{} could not be compiled; see `weft status`", endpoint.namespace_name,
                       endpoint.pod_name);
    }
    bpf::TypedMap<std::uint64_t, weft_endpoint> map(*datapath_->maps().endpoint);
    WEFT_ASSIGN(const auto actual, map.lookup(endpoint.netns_cookie));
    if (!actual || std::memcmp(&*actual, &wanted->second, sizeof *actual) != 0) {
        return failure(EIO, "the maps of pod {}/{} could not be written; see `weft status`", endpoint.namespace_name,
                       endpoint.pod_name);
    }
    return {};
}

void Agent::reap(const std::vector<bpf::StaleBackend>& stale) {
    if (stale.empty()) {
        return;
    }
    reap_now(stale);
    // A connect that was choosing while the map changed may have taken the old backend: look once more.
    loop_.after(kReapAgain, [this, stale] { reap_now(stale); });
}

void Agent::reap_now(const std::vector<bpf::StaleBackend>& stale) {
    const auto iterator = datapath_->program_fd("weft_conn_iter");
    const auto storage = datapath_->map_fd("weft_socket");
    if (!iterator || !storage) {
        return; // a data path without the iterator was refused at load
    }
    const auto connections = bpf::read_connections(*iterator, *storage);
    if (!connections) {
        spdlog::error("event=reap-failed error=\"{}\" effect=\"UDP sockets stay with backends that are gone\"",
                      connections.error().message());
        return;
    }
    const auto sockets = bpf::stale_udp_sockets(*connections, stale);
    if (sockets.empty()) {
        return;
    }
    std::map<std::uint64_t, std::string> paths{{node_.host_netns_cookie, "/proc/self/ns/net"}};
    for (const auto& [container, endpoint] : *snapshot_->endpoints) {
        paths.emplace(endpoint.netns_cookie, endpoint.netns_path);
    }
    const auto stats = reaper_.reap(sockets, paths);
    spdlog::info("event=udp-reaped by={} sockets={} destroyed={} gone={}", reaper_.mechanism(), sockets.size(),
                 stats.destroyed, stats.already_gone);
    for (const auto& error : stats.errors) {
        spdlog::warn("event=reap-failed error=\"{}\"", error.message());
    }
}

} // namespace weft::app

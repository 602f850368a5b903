// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/app/mesh_control.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <spdlog/spdlog.h>

#include "agent/app/foreign_view.hpp"
#include "agent/app/mesh_view.hpp"
#include "agent/bpf/uninstall.hpp"
#include "agent/compiler/mesh.hpp"
#include "agent/identity/ca_source.hpp"
#include "agent/identity/files_source.hpp"
#include "agent/identity/workload_api_source.hpp"

namespace weft::app {

MeshControl::MeshControl(const Options& options, Loop& loop, std::function<void()> changed)
    : options_(options), loop_(loop), changed_(std::move(changed)) {}

MeshControl::~MeshControl() {
    mesh_.reset();
    rotator_.reset(); // before the loop's owner goes: its thread posts there
}

Result<std::unique_ptr<MeshControl>> MeshControl::start(const Options& options, Loop& loop,
                                                        std::function<void()> changed) {
    std::unique_ptr<MeshControl> control(new MeshControl(options, loop, std::move(changed)));
    WEFT_TRY(control->open_source());
    control->recover();
    return control;
}

void MeshControl::recover() {
    if (options_.relay_socket.empty()) {
        return;
    }
    auto recovered = mesh::recover(options_.relay_socket);
    if (!recovered) {
        spdlog::warn(
            "event=mesh-nothing-recovered error=\"{}\" effect=\"connections that waited for the agent are reset\"",
            recovered.error().message());
        return;
    }
    std::size_t waiting = 0;
    for (const auto& [cookie, connections] : recovered->waiting) {
        waiting += connections.size();
    }
    if (waiting > 0 || !recovered->pods.empty()) {
        spdlog::info("event=mesh-recovered pods={} waiting={}", recovered->pods.size(), waiting);
    }
    recovered_ = std::move(*recovered);
}

Result<> MeshControl::open_source() {
    std::unique_ptr<identity::Source> source;
    if (!options_.ca_address.empty()) {
        identity::CaOptions ca;
        ca.address = options_.ca_address;
        ca.trust_domain = options_.trust_domain;
        ca.node_name = options_.node_name;
        ca.state_folder = options_.ca_state_dir;
        ca.token_file = options_.ca_token_file;
        ca.fingerprint = options_.ca_fingerprint;
        WEFT_ASSIGN(source, identity::open_ca_source(ca));
    } else if (!options_.identity_files.empty()) {
        WEFT_ASSIGN(source, identity::open_files_source(options_.identity_files));
    } else {
        WEFT_ASSIGN(source, identity::open_workload_api_source(options_.workload_api));
    }
    std::unique_ptr<identity::Federation> federation;
    if (!options_.federation.empty()) {
        std::vector<identity::FederatedDomain> domains;
        for (const auto& [domain, location] : options_.federation) {
            const auto ca_file = options_.federation_ca.find(domain);
            domains.push_back({domain, location, ca_file == options_.federation_ca.end() ? "" : ca_file->second});
        }
        WEFT_ASSIGN(federation, identity::Federation::start(std::move(domains), options_.trust_domain,
                                                            options_.federation_interval));
    }
    keeper_ = std::make_unique<identity::Keeper>(std::move(source), std::move(federation));
    const auto look_again = [this] { loop_.post([this] { changed_(); }); };
    keeper_->on_identity([look_again](const SpiffeId&) { look_again(); });
    keeper_->on_trust([look_again](const identity::TrustPtr&) { look_again(); });
    rotator_ = std::make_unique<identity::Rotator>(*keeper_);
    return {};
}

Result<> MeshControl::open(const bpf::Datapath& datapath) {
    WEFT_ASSIGN(const int sockets, datapath.map_fd("weft_socket"));
    WEFT_ASSIGN(const int dials, datapath.map_fd("weft_mesh_dial"));
    WEFT_ASSIGN(const int peers, datapath.map_fd("weft_mesh_peer"));
    WEFT_ASSIGN(const int listeners, datapath.map_fd("weft_mesh_lstn"));
    WEFT_ASSIGN(auto kernel, mesh::KernelState::open(sockets, dials, peers, listeners));
    mesh::MeshOptions options;
    options.cgroup = options_.cgroup_path + "/" + bpf::kMeshCgroup;
    options.pin_dir = options_.pin_dir;
    options.relay_socket = options_.relay_socket;
    options.key_limit = {.bytes = static_cast<std::uint64_t>(options_.key_limit) << 20,
                         .close = options_.key_limit_policy == "close"};
    options.recovered = std::move(recovered_);
    WEFT_ASSIGN(mesh_,
                mesh::Mesh::start(std::move(options), std::move(kernel), [this](const mesh::FailureReport& report) {
                    mesh::Stats::OnFailure told;
                    {
                        const std::lock_guard lock(mutex_);
                        told = on_failure_;
                    }
                    if (told) {
                        told(report);
                    }
                }));
    const auto& probe = mesh_->probe();
    spdlog::info("event=mesh-ready tier={} reason=\"{}\"", ktls::tier_name(probe.tier), probe.reason);
    return reload(datapath);
}

Result<> MeshControl::reload(const bpf::Datapath& datapath) {
    WEFT_ASSIGN(const int program, datapath.program_fd("weft_steer"));
    mesh_->set_program(program);
    return {};
}

std::shared_ptr<const ktls::Context> MeshControl::context_for(const SpiffeId& id) {
    auto credentials = keeper_->credentials(id);
    if (!credentials) {
        contexts_.erase(id);
        return nullptr;
    }
    auto& cached = contexts_[id];
    if (cached.credentials == *credentials) {
        return cached.context;
    }
    ktls::ContextOptions tls;
    tls.rekey = mesh_ && mesh_->rekeys();
    if (!options_.session_resumption) {
        tls.client_sessions = tls.server_sessions = 0;
    }
    auto context = ktls::Context::create(**credentials, tls);
    if (!context) {
        spdlog::error("event=certificate-unusable id={} error=\"{}\"", id.to_string(), context.error().message());
        contexts_.erase(id);
        return nullptr;
    }
    cached = {std::move(*credentials), std::move(*context)};
    return cached.context;
}

void MeshControl::update(const store::Snapshot& snapshot, const compiler::InTransit& in_transit) {
    if (!mesh_) {
        return;
    }
    auto view = mesh_view(snapshot, options_.node_name, options_.trust_domain, in_transit);
    auto conflicts = add_foreign(view, snapshot, options_.federation_addresses);
    {
        const std::lock_guard lock(mutex_);
        foreign_conflicts_ = std::move(conflicts);
    }
    const auto wanted = identities_of(view);
    keeper_->set_wanted(wanted);
    rotator_->wake();
    std::erase_if(contexts_, [&](const auto& one) { return !wanted.contains(one.first); });
    for (const auto& id : wanted) {
        if (auto context = context_for(id); context) {
            view.contexts.emplace(id, std::move(context));
        }
    }
    const auto trust = keeper_->trust();
    if (trust) {
        view.revoked.insert(trust->revocations.serials.begin(), trust->revocations.serials.end());
        view.revoked.insert(trust->revocations.ids.begin(), trust->revocations.ids.end());
    }
    mesh_->update(std::make_shared<const mesh::View>(std::move(view)));
    if (trust != trust_) {
        trust_ = trust;
        close_revoked();
    }
    tell_trouble();
}

void MeshControl::close_revoked() {
    if (!trust_ || (trust_->revocations.serials.empty() && trust_->revocations.ids.empty())) {
        return;
    }
    for (const auto& [id, cached] : contexts_) {
        cached.context->forget_sessions(); // whoever comes back proves himself anew, certificate and all
    }
    mesh_->close_if([trust = trust_](const mesh::ConnectionFacts& facts) {
        const auto taken_back = [&](const std::string& id, const std::string& serial) {
            return trust->revocations.contains(id, serial);
        };
        return taken_back(facts.workload->id.to_string(), facts.own_serial) ||
               (facts.peer && taken_back(facts.peer->to_string(), facts.peer_serial));
    });
}

void MeshControl::tell_trouble() {
    std::vector<std::string> now = mesh_->trouble();
    const auto troubles = keeper_->troubles();
    now.insert(now.end(), troubles.begin(), troubles.end());
    now.insert(now.end(), foreign_conflicts_.begin(), foreign_conflicts_.end());
    for (const auto& line : now) {
        if (std::ranges::find(told_, line) == told_.end()) {
            spdlog::error("event=mesh-trouble error=\"{}\"", line);
        }
    }
    told_ = std::move(now);
}

void MeshControl::publish(const store::Snapshot& snapshot, const compiler::DesiredState& state) {
    if (!mesh_) {
        return;
    }
    std::set<std::uint64_t> ready;
    for (const auto& [container, endpoint] : *snapshot.endpoints) {
        const auto armed = state.policy->endpoints.find(endpoint.netns_cookie);
        const auto pod = snapshot.pods->find({endpoint.namespace_name, endpoint.pod_name});
        if (armed == state.policy->endpoints.end() || pod == snapshot.pods->end() ||
            (armed->second.flags & WEFT_ENDPOINT_MESH) == 0 || armed->second.dial_port == 0) {
            continue;
        }
        const auto standing = compiler::mesh_standing(snapshot, *pod->second, {}, nullptr);
        const auto id =
            SpiffeId::make(options_.trust_domain, endpoint.namespace_name, pod->second->spec.service_account);
        // A certificate that has expired, was revoked, or has not come yet after a start takes nothing back: permissive
        // peers would go on in plaintext, and whoever keeps certificates away would decide that.
        if (standing.mode != k8s::TlsMode::kOff && id && (contexts_.contains(*id) || standing.published)) {
            ready.insert(endpoint.netns_cookie);
        }
    }
    auto text = enrolled_text(snapshot, ready);
    if (text == published_) {
        return;
    }
    const std::string path = options_.run_dir + "/enrolled.json";
    const std::string fresh = path + ".new";
    std::ofstream file(fresh, std::ios::trunc);
    file << text << std::flush;
    std::error_code error;
    if (file) {
        std::filesystem::rename(fresh, path, error);
    }
    if (!file || error) {
        spdlog::error("event=publish-failed file={} error=\"{}\" effect=\"peers reach these pods without mutual TLS\"",
                      path, error ? error.message() : "cannot write");
        return; // tried again with the next change or repair
    }
    published_ = std::move(text);
}

std::map<std::uint64_t, std::uint16_t> MeshControl::dial_ports() const {
    if (mesh_) {
        return mesh_->dial_ports();
    }
    std::map<std::uint64_t, std::uint16_t> ports;
    for (const auto& [cookie, sockets] : recovered_.pods) {
        ports[cookie] = sockets.dial_port;
    }
    return ports;
}

} // namespace weft::app

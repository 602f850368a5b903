// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The mesh as the API and the metrics see it.
#include "agent/app/view.hpp"

namespace weft::app {
namespace {

const char* side_text(mesh::Side side) {
    return side == mesh::Side::kClient ? "client" : "server";
}

} // namespace

std::optional<admin::MeshHealth> View::mesh() const {
    if (mesh_ == nullptr) {
        return std::nullopt;
    }
    const auto& mesh = mesh_->mesh();
    admin::MeshHealth health;
    health.tier = ktls::tier_name(mesh.probe().tier);
    health.reason = mesh.probe().reason;
    health.troubles = mesh_->keeper().troubles();
    const auto conflicts = mesh_->foreign_conflicts();
    health.troubles.insert(health.troubles.end(), conflicts.begin(), conflicts.end());
    const auto now = std::chrono::system_clock::now();
    for (const auto& state : mesh_->keeper().states()) {
        admin::MeshHealth::Certificate one;
        one.id = state.id.to_string();
        one.phase = identity::phase_name(state.phase);
        one.serial = state.serial;
        one.source = state.source;
        one.error = state.last_error;
        if (!state.serial.empty()) {
            one.seconds_left = std::chrono::duration<double>(state.not_after - now).count();
            one.not_before = std::chrono::system_clock::to_time_t(state.not_before);
            one.not_after = std::chrono::system_clock::to_time_t(state.not_after);
        }
        health.certificates.push_back(std::move(one));
    }
    for (const auto& bundle : mesh_->keeper().bundles()) {
        health.bundles.push_back({bundle.trust_domain, bundle.roots,
                                  bundle.read_at
                                      ? std::optional(std::chrono::duration<double>(now - *bundle.read_at).count())
                                      : std::nullopt});
    }
    const auto totals = mesh.stats().totals();
    for (const auto& [key, value] : totals.opened) {
        health.opened.push_back({side_text(key.first), std::string(mesh::carrier_name(key.second)), value});
    }
    for (const auto& [key, value] : mesh.stats().failures()) {
        health.failed.push_back({side_text(key.first), key.second, value});
    }
    health.resumed = totals.resumed;
    for (const auto side : {mesh::Side::kClient, mesh::Side::kServer}) {
        const auto found = totals.revoked.find(side);
        health.revoked.emplace_back(side_text(side), found == totals.revoked.end() ? 0 : found->second);
    }
    for (const auto& [key, count] : mesh.stats().principals()) {
        health.principals.push_back({side_text(key.side), key.source, key.destination, key.mutual_tls, count.opened,
                                     count.closed, count.sent, count.received});
    }
    const auto keys = [&](mesh::KeyEvent event) { return totals.keys[static_cast<std::size_t>(event)]; };
    health.key_limits = {{"rekeyed", keys(mesh::KeyEvent::kLimitRekeyed)},
                         {"warned", keys(mesh::KeyEvent::kLimitWarned)},
                         {"closed", keys(mesh::KeyEvent::kLimitClosed)}};
    health.new_keys = {{"send", keys(mesh::KeyEvent::kSendKey)}, {"receive", keys(mesh::KeyEvent::kReceiveKey)}};
    health.handshake_us.assign(totals.handshake_us.begin(), totals.handshake_us.end());
    health.handshake_sum_seconds = static_cast<double>(totals.handshake_sum_us) / 1e6;
    for (const auto& [id, facts] : mesh.stats().connections()) {
        admin::MeshHealth::Carried one;
        one.client = facts.side == mesh::Side::kClient;
        one.cookie = facts.cookie;
        one.app = facts.app;
        one.remote = facts.remote;
        one.own_id = facts.workload->id.to_string();
        one.peer_id = facts.peer ? facts.peer->to_string() : "";
        one.own_serial = facts.own_serial;
        one.peer_serial = facts.peer_serial;
        one.cipher = facts.cipher;
        one.group = facts.group;
        one.tier = mesh::carrier_name(facts.carrier);
        one.resumed = facts.resumed;
        health.connections.push_back(std::move(one));
    }
    return health;
}

} // namespace weft::app

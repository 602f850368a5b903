// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What administrators ask for: a look, rotation, revocation, tokens, certificates for what is no node.
#include <algorithm>

#include "agent/ca/issuer.hpp"
#include "agent/ca/pki/key.hpp"
#include "agent/ca/pki/names.hpp"
#include "weft/base/spiffe_id.hpp"
#include "weft/ktls/credentials.hpp"

namespace weft::ca {
namespace {

constexpr seconds kTokenLife = std::chrono::hours(1);
constexpr seconds kLongestToken = std::chrono::days(30);
constexpr std::string_view kScheme = "spiffe://";

std::int64_t unix_time(Time time) {
    return time.time_since_epoch().count();
}

bool is_serial(std::string_view text) {
    return !text.empty() && text.size() <= 64 &&
           std::ranges::all_of(text, [](unsigned char c) { return std::isxdigit(c) != 0 || c == ':'; });
}

} // namespace

Result<ShowResponse> Issuer::show() {
    const std::scoped_lock lock(mutex_);
    return show_locked();
}

ShowResponse Issuer::show_locked() {
    ShowResponse out;
    const auto now = options_.now();
    const auto bundle = bundle_locked();
    out.set_trust_domain(authority_.trust_domain());
    out.set_bundle_version(authority_.version());
    *out.mutable_revocations() = bundle.revocations();
    for (const auto& root : authority_.roots()) {
        auto& one = *out.add_roots();
        one.set_number(root.number);
        one.set_phase(std::string(phase_name(root.phase)));
        one.set_has_key(root.key != nullptr);
        one.set_fingerprint(pki::fingerprint_of(root.certificate.get()).value_or(""));
        if (const auto life = pki::validity_of(root.certificate.get())) {
            one.set_not_before(unix_time(life->from));
            one.set_not_after(unix_time(life->to));
        }
    }
    const auto& intermediate = authority_.intermediate();
    auto& shown = *out.mutable_intermediate();
    shown.set_number(intermediate.number);
    shown.set_root(intermediate.root);
    shown.set_serial(ktls::serial_of(intermediate.certificate.get()));
    if (const auto life = pki::validity_of(intermediate.certificate.get())) {
        shown.set_not_before(unix_time(life->from));
        shown.set_not_after(unix_time(life->to));
    }
    std::set<std::string> nodes;
    for (const auto& [serial, entry] : ledger_.issued()) {
        if (entry.not_after <= now) {
            continue;
        }
        auto& one = *out.add_certificates();
        one.set_serial(serial);
        one.set_spiffe_id(entry.id);
        one.set_node(entry.node);
        one.set_root(entry.root);
        one.set_issued_at(unix_time(entry.at));
        one.set_not_after(unix_time(entry.not_after));
        one.set_revoked(ledger_.is_revoked(serial, entry.id));
        if (!one.revoked() && pki::NodeId::parse(entry.id)) {
            nodes.insert(entry.node);
        }
    }
    for (const auto& [hash, token] : tokens_.all()) {
        if (token.used_by.empty() && token.expires > now) {
            auto& one = *out.add_tokens();
            one.set_node(token.node);
            one.set_created(unix_time(token.created));
            one.set_expires(unix_time(token.expires));
        }
    }
    for (const auto& name : nodes) {
        auto& one = *out.add_nodes();
        one.set_name(name);
        const auto known = acknowledged_.find(name);
        one.set_bundle_version(known == acknowledged_.end() ? 0 : known->second);
        one.set_connected(connected_.contains(name));
    }
    return out;
}

Result<> Issuer::judge_rotation(const RotateRequest& request) {
    if (request.force()) {
        return {};
    }
    if (request.step() == RotateRequest::STEP_SWITCH && authority_.next_root() != nullptr) {
        std::vector<std::string> behind;
        const auto state = show_locked();
        for (const auto& node : state.nodes()) {
            if (node.bundle_version() < authority_.version()) {
                behind.push_back(node.name());
            }
        }
        if (!behind.empty()) {
            return failure(EBUSY,
                           "{} node(s) do not trust the next root yet: {}; wait for them, or cut them off with "
                           "--force",
                           behind.size(), fmt::join(behind, ", "));
        }
    }
    if (request.step() == RotateRequest::STEP_RETIRE) {
        const auto old = std::ranges::find(authority_.roots(), Phase::kRetiring, &HeldRoot::phase);
        if (old == authority_.roots().end()) {
            return {}; // Authority::retire() says it
        }
        const auto serials = ledger_.in_use_below(old->number, options_.now());
        if (!serials.empty()) {
            const auto& first = ledger_.issued().at(serials.front());
            return failure(EBUSY,
                           "{} certificate(s) of the old root are in use, for example {} until {}; wait for "
                           "their renewal, or cut them off with --force",
                           serials.size(), first.id, pki::time_text(first.not_after));
        }
    }
    return {};
}

Result<ShowResponse> Issuer::rotate(const RotateRequest& request) {
    ShowResponse answer;
    {
        const std::scoped_lock lock(mutex_);
        WEFT_TRY(judge_rotation(request));
        const auto now = options_.now();
        AuditLine line{.event = "rotated", .kind = "root"};
        switch (request.step()) {
        case RotateRequest::STEP_PUBLISH:
            WEFT_TRY(authority_.publish_next(folder_, now));
            line.reason = "published";
            break;
        case RotateRequest::STEP_SWITCH:
            WEFT_TRY(authority_.switch_signing(folder_, now));
            server_renewal_ = now;
            line.reason = "signs now";
            break;
        case RotateRequest::STEP_RETIRE:
            WEFT_TRY(authority_.retire(folder_));
            line.reason = "retired";
            break;
        case RotateRequest::STEP_INTERMEDIATE:
            WEFT_TRY(authority_.renew_intermediate(folder_, now));
            server_renewal_ = now;
            line.kind = "intermediate";
            break;
        default:
            return invalid("rotate: no step is given");
        }
        line.serial = ktls::serial_of(authority_.intermediate().certificate.get());
        audit(line);
        answer = show_locked();
    }
    announce();
    return answer;
}

Result<RevokeResponse> Issuer::revoke(const RevokeRequest& request) {
    RevokeResponse answer;
    {
        const std::scoped_lock lock(mutex_);
        const auto& what = request.what();
        if (what.starts_with(kScheme)) {
            const auto workload = SpiffeId::parse(what);
            const auto node = pki::NodeId::parse(what);
            if (!workload && !node) {
                return std::unexpected(workload.error());
            }
            if ((workload ? workload->trust_domain : node->trust_domain) != authority_.trust_domain()) {
                return invalid("{} is not of our trust domain '{}'", what, authority_.trust_domain());
            }
        } else if (request.undo() || !is_serial(what)) {
            return invalid("'{}' is no {}", what, request.undo() ? "SPIFFE ID" : "SPIFFE ID and no serial number");
        }
        auto changed = request.undo() ? ledger_.allow(folder_, what) : ledger_.revoke(folder_, what, options_.now());
        if (!changed) {
            return std::unexpected(changed.error());
        }
        if (!changed->empty()) {
            WEFT_TRY(authority_.bump(folder_));
        }
        for (const auto& one : *changed) {
            auto& entry = *answer.add_revocations();
            if (one.serial.empty()) {
                entry.set_spiffe_id(one.id);
            } else {
                entry.set_serial(one.serial);
            }
            entry.set_revoked_at(unix_time(one.at));
            entry.set_expires(unix_time(one.expires));
            audit(AuditLine{.event = request.undo() ? "allowed" : "revoked",
                            .kind = "operator",
                            .id = one.id,
                            .serial = one.serial});
        }
    }
    if (answer.revocations_size() > 0) {
        announce();
    }
    return answer;
}

Result<CreateTokenResponse> Issuer::create_token(const CreateTokenRequest& request) {
    const std::scoped_lock lock(mutex_);
    WEFT_ASSIGN(const auto node, pki::NodeId::make(authority_.trust_domain(), request.node()));
    const auto life = request.lifetime() == 0 ? kTokenLife : seconds(request.lifetime());
    if (life <= seconds(0) || life > kLongestToken) {
        return invalid("a join token lives from 1 second to {} days",
                       std::chrono::duration_cast<std::chrono::days>(kLongestToken).count());
    }
    if (ledger_.is_revoked("", node.to_string())) {
        return failure(EACCES, "the node {} is revoked: weft-ca revoke --undo {} lets it in again", node.name,
                       node.to_string());
    }
    const auto now = options_.now();
    CreateTokenResponse answer;
    WEFT_ASSIGN(auto token, tokens_.create(folder_, node.name, life, now));
    answer.set_token(std::move(token));
    answer.set_node(node.name);
    answer.set_expires(unix_time(now + life));
    WEFT_ASSIGN(auto fingerprint, pki::fingerprint_of(authority_.signing_root().certificate.get()));
    answer.set_fingerprint(std::move(fingerprint));
    audit(AuditLine{.event = "token", .kind = "node", .node = node.name});
    return answer;
}

Result<IssueResponse> Issuer::issue(const IssueRequest& request) {
    const std::scoped_lock lock(mutex_);
    AuditLine line{.kind = "operator"};
    const auto chain = [&]() -> Result<std::vector<OsslPtr<X509>>> {
        WEFT_ASSIGN(const auto csr, pki::parse_csr(request.csr()));
        line.id = csr.uri;
        WEFT_ASSIGN(const auto id, SpiffeId::parse(csr.uri));
        if (id.trust_domain != authority_.trust_domain()) {
            return failure(EACCES, "trust domain '{}' is not ours ('{}')", id.trust_domain, authority_.trust_domain());
        }
        const auto life = request.lifetime() == 0 ? authority_.lives().workload : seconds(request.lifetime());
        if (life <= seconds(0)) {
            return invalid("a certificate must live at least a second");
        }
        return certify(pki::LeafKind::kWorkload, csr, life, "");
    }();
    audit(line, chain);
    if (!chain) {
        return std::unexpected(chain.error());
    }
    IssueResponse answer;
    for (const auto& one : *chain) {
        WEFT_ASSIGN(*answer.add_chain(), pki::der_of(one.get()));
    }
    *answer.mutable_roots() = bundle_locked().roots();
    return answer;
}

Result<bool> Issuer::tick() {
    bool changed = false;
    bool server = false;
    {
        const std::scoped_lock lock(mutex_);
        const auto now = options_.now();
        WEFT_ASSIGN(changed, ledger_.prune(folder_, now));
        if (changed) {
            WEFT_TRY(authority_.bump(folder_));
        }
        WEFT_ASSIGN(const auto life, pki::validity_of(authority_.intermediate().certificate.get()));
        if (now >= life.from + (life.to - life.from) / 2 && authority_.signing_root().key) {
            WEFT_ASSIGN(const auto limit, pki::validity_of(authority_.signing_root().certificate.get()));
            // A root near its end cannot give its intermediate a longer life: only a new root helps then.
            if (limit.to > life.to) {
                WEFT_TRY(authority_.renew_intermediate(folder_, now));
                server_renewal_ = now;
                audit(AuditLine{.event = "rotated",
                                .kind = "intermediate",
                                .serial = ktls::serial_of(authority_.intermediate().certificate.get()),
                                .reason = "half of its life is over"});
            }
        }
        server = now >= server_renewal_ || now < server_from_;
    }
    if (changed) {
        announce();
    }
    return server;
}

Result<std::string> Issuer::server_identity() {
    const std::scoped_lock lock(mutex_);
    WEFT_ASSIGN(const auto key, pki::new_key());
    const auto now = options_.now();
    WEFT_ASSIGN(const auto chain,
                authority_.sign(pki::LeafKind::kServer, key.get(), pki::server_uri(authority_.trust_domain()),
                                authority_.lives().server, now));
    WEFT_ASSIGN(const auto life, pki::validity_of(chain.front().get()));
    server_renewal_ = now + (life.to - now) / 2;
    server_from_ = life.from;
    WEFT_ASSIGN(auto text, pki::pem_of(key.get()));
    for (const auto& one : chain) {
        WEFT_ASSIGN(const auto pem, pki::pem_of(one.get()));
        text += pem;
    }
    // The root goes along, so that a joining node can find the one that it pinned.
    WEFT_ASSIGN(const auto root, pki::pem_of(authority_.signing_root().certificate.get()));
    return text + root;
}

} // namespace weft::ca

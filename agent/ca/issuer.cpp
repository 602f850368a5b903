// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What nodes ask for: judged, signed, entered in the ledger, audited.
#include "agent/ca/issuer.hpp"

#include "agent/ca/pki/chain.hpp"
#include "agent/ca/pki/key.hpp"
#include "agent/ca/pki/names.hpp"
#include "weft/base/spiffe_id.hpp"
#include "weft/ktls/credentials.hpp"

namespace weft::ca {
namespace {

constexpr std::size_t kMostNames = 10000;
constexpr std::size_t kMostToken = 256;

Time wall_clock() {
    return std::chrono::floor<seconds>(std::chrono::system_clock::now());
}

template <typename Field>
Result<> put_chain(const std::vector<OsslPtr<X509>>& chain, Field* field) {
    for (const auto& one : chain) {
        WEFT_ASSIGN(*field->Add(), pki::der_of(one.get()));
    }
    return {};
}

} // namespace

Issuer::Issuer(StateFolder folder, Authority authority, JoinTokens tokens, Ledger ledger,
               std::unique_ptr<PodDirectory> pods, IssuerOptions options)
    : folder_(std::move(folder)), authority_(std::move(authority)), tokens_(std::move(tokens)),
      ledger_(std::move(ledger)), pods_(std::move(pods)), options_(std::move(options)),
      join_limit_(options_.join_burst, options_.join_per_second, kMostNames),
      sign_limit_(options_.sign_burst, options_.sign_per_second, kMostNames) {}

Result<std::unique_ptr<Issuer>> Issuer::open(StateFolder folder, std::unique_ptr<PodDirectory> pods,
                                             IssuerOptions options) {
    if (!options.now) {
        options.now = wall_clock;
    }
    WEFT_ASSIGN(auto authority, Authority::open(folder));
    WEFT_ASSIGN(auto tokens, JoinTokens::open(folder, options.now()));
    WEFT_ASSIGN(auto ledger, Ledger::open(folder, options.now()));
    return std::unique_ptr<Issuer>(new Issuer(std::move(folder), std::move(authority), std::move(tokens),
                                              std::move(ledger), std::move(pods), std::move(options)));
}

Result<std::vector<OsslPtr<X509>>> Issuer::certify(pki::LeafKind kind, const pki::Csr& csr, seconds life,
                                                   const std::string& node) {
    if (ledger_.is_revoked("", csr.uri)) {
        return failure(EACCES, "the identity {} is revoked", csr.uri);
    }
    const auto now = options_.now();
    WEFT_ASSIGN(auto chain, authority_.sign(kind, csr.key.get(), csr.uri, life, now));
    WEFT_ASSIGN(const auto validity, pki::validity_of(chain.front().get()));
    WEFT_TRY(ledger_.record(folder_, ktls::serial_of(chain.front().get()),
                            {csr.uri, node, authority_.signing_root().number, now, validity.to}));
    return chain;
}

Result<std::vector<OsslPtr<X509>>> Issuer::judge_join(const JoinRequest& request, AuditLine& line) {
    if (request.token().size() > kMostToken) {
        return failure(EMSGSIZE, "the join token is too long");
    }
    WEFT_ASSIGN(const auto csr, pki::parse_csr(request.csr()));
    line.id = csr.uri;
    WEFT_ASSIGN(const auto id, pki::NodeId::parse(csr.uri));
    if (id.trust_domain != authority_.trust_domain()) {
        return failure(EACCES, "trust domain '{}' is not ours ('{}')", id.trust_domain, authority_.trust_domain());
    }
    if (ledger_.is_revoked("", csr.uri)) {
        return failure(EACCES, "the node {} is revoked", id.name); // before the token is used up
    }
    WEFT_ASSIGN(const auto key_hash, pki::public_key_hash(csr.key.get()));
    WEFT_TRY(tokens_.redeem(folder_, request.token(), id.name, key_hash, options_.now()));
    line.node = id.name;
    return certify(pki::LeafKind::kNode, csr, authority_.lives().node, id.name);
}

Result<NodeCertificate> Issuer::join(const JoinRequest& request, const std::string& peer) {
    const std::scoped_lock lock(mutex_);
    // Before the audit: whoever may ask as often as he likes must not fill the disk with refusals.
    if (!join_limit_.allow(block_of(peer))) {
        return failure(EAGAIN, "too many attempts to join from {}: wait a few seconds", peer);
    }
    AuditLine line{.kind = "node", .peer = peer};
    const auto chain = judge_join(request, line);
    audit(line, chain);
    if (!chain) {
        return std::unexpected(chain.error());
    }
    return node_answer(*chain);
}

Result<std::vector<OsslPtr<X509>>> Issuer::judge_renewal(const RenewNodeRequest& request, const Caller& caller,
                                                         AuditLine& line) {
    WEFT_ASSIGN(const auto csr, pki::parse_csr(request.csr()));
    line.id = csr.uri;
    if (csr.uri != pki::NodeId{authority_.trust_domain(), caller.node}.to_string()) {
        return failure(EACCES, "node {} may renew its own certificate only, not {}", caller.node, csr.uri);
    }
    return certify(pki::LeafKind::kNode, csr, authority_.lives().node, caller.node);
}

Result<NodeCertificate> Issuer::renew_node(const RenewNodeRequest& request, const Caller& caller) {
    const std::scoped_lock lock(mutex_);
    if (!sign_limit_.allow(caller.node)) {
        return failure(EAGAIN, "too many requests from node {}: wait a few seconds", caller.node);
    }
    AuditLine line{.kind = "node", .node = caller.node, .peer = caller.peer};
    const auto chain = judge_renewal(request, caller, line);
    audit(line, chain);
    if (!chain) {
        return std::unexpected(chain.error());
    }
    return node_answer(*chain);
}

Result<std::vector<OsslPtr<X509>>> Issuer::judge_workload(const SignWorkloadRequest& request, const Caller& caller,
                                                          AuditLine& line) {
    WEFT_ASSIGN(const auto csr, pki::parse_csr(request.csr()));
    line.id = csr.uri;
    WEFT_ASSIGN(const auto id, SpiffeId::parse(csr.uri));
    if (id.trust_domain != authority_.trust_domain()) {
        return failure(EACCES, "trust domain '{}' is not ours ('{}')", id.trust_domain, authority_.trust_domain());
    }
    if (!pods_) {
        return failure(EACCES, "this weft-ca knows no pods: start it with --manifests");
    }
    WEFT_TRY(pods_->check(caller.node, id.namespace_name, id.service_account));
    return certify(pki::LeafKind::kWorkload, csr, authority_.lives().workload, caller.node);
}

Result<WorkloadCertificate> Issuer::sign_workload(const SignWorkloadRequest& request, const Caller& caller) {
    const std::scoped_lock lock(mutex_);
    if (!sign_limit_.allow(caller.node)) {
        return failure(EAGAIN, "too many requests from node {}: wait a few seconds", caller.node);
    }
    AuditLine line{.kind = "workload", .node = caller.node, .peer = caller.peer};
    const auto chain = judge_workload(request, caller, line);
    audit(line, chain);
    if (!chain) {
        return std::unexpected(chain.error());
    }
    WorkloadCertificate answer;
    WEFT_TRY(put_chain(*chain, answer.mutable_chain()));
    return answer;
}

Result<NodeCertificate> Issuer::node_answer(const std::vector<OsslPtr<X509>>& chain) const {
    NodeCertificate answer;
    WEFT_TRY(put_chain(chain, answer.mutable_chain()));
    *answer.mutable_bundle() = bundle_locked();
    return answer;
}

void Issuer::acknowledge(const Caller& caller, std::uint64_t version) {
    const std::scoped_lock lock(mutex_);
    if (version <= authority_.version()) { // a node of another life of this folder knows better, but proves nothing
        acknowledged_[caller.node] = version;
    }
}

Result<Caller> Issuer::authenticate(const std::string& chain_pem, const std::string& peer) {
    const auto parsed = ktls::certificates_from_pem(chain_pem);
    if (!parsed) {
        return failure(EKEYREJECTED, "no client certificate: a node joins first");
    }
    X509* const leaf = parsed->front().get();
    const auto uris = pki::uris_of(leaf);
    if (uris.size() != 1 || !pki::has_usage(leaf, pki::kNodeUsage)) {
        return failure(EKEYREJECTED, "the client certificate is no node's");
    }
    const auto id = pki::NodeId::parse(uris.front());
    if (!id) {
        return failure(EKEYREJECTED, "the client certificate is no node's: {}", id.error().message());
    }
    auto serial = ktls::serial_of(leaf);
    std::vector<OsslPtr<X509>> roots;
    std::vector<OsslPtr<X509>> own;
    {
        const std::scoped_lock lock(mutex_);
        if (id->trust_domain != authority_.trust_domain()) {
            return failure(EKEYREJECTED, "trust domain '{}' is not ours ('{}')", id->trust_domain,
                           authority_.trust_domain());
        }
        for (const auto& root : authority_.roots()) {
            roots.push_back(ktls::share(root.certificate.get()));
        }
        own.push_back(ktls::share(authority_.intermediate().certificate.get()));
    }
    // Without the lock: who shows a costly chain must not keep others waiting. The intermediates come from the peer, as
    // ours may have been replaced since; one that resumes a session has none.
    // One that we made while our clock was ahead is not valid yet, but ours all the same: its node wants another one.
    WEFT_ASSIGN(const auto life, pki::validity_of(leaf));
    const auto at = std::max(options_.now(), life.from);
    if (auto valid = pki::verify_chain(*parsed, roots, pki::Purpose::kClient, at, own); !valid) {
        return std::unexpected(valid.error().within(fmt::format("the certificate of node {}", id->name)));
    }
    const std::scoped_lock lock(mutex_);
    if (ledger_.is_revoked(serial, uris.front())) {
        return failure(EKEYREVOKED, "the certificate of node {} is revoked", id->name);
    }
    return Caller{id->name, std::move(serial), peer};
}

bool Issuer::still_welcome(const Caller& caller) {
    const std::scoped_lock lock(mutex_);
    return !ledger_.is_revoked(caller.serial, pki::NodeId{authority_.trust_domain(), caller.node}.to_string());
}

Bundle Issuer::bundle() {
    const std::scoped_lock lock(mutex_);
    return bundle_locked();
}

Bundle Issuer::bundle_locked() const {
    Bundle bundle;
    bundle.set_version(authority_.version());
    bundle.set_trust_domain(authority_.trust_domain());
    for (const auto& root : authority_.roots()) {
        if (root.phase == Phase::kSigning) {
            bundle.set_signing_root(static_cast<std::uint32_t>(bundle.roots_size()));
        }
        // It was read from DER, so it can be written.
        bundle.add_roots(pki::der_of(root.certificate.get()).value_or(""));
    }
    for (const auto& one : ledger_.revoked()) {
        auto& entry = *bundle.add_revocations();
        if (one.serial.empty()) {
            entry.set_spiffe_id(one.id);
        } else {
            entry.set_serial(one.serial);
        }
        entry.set_revoked_at(one.at.time_since_epoch().count());
        entry.set_expires(one.expires.time_since_epoch().count());
    }
    return bundle;
}

void Issuer::set_connected(const std::string& node, bool connected) {
    const std::scoped_lock lock(mutex_);
    if (connected) {
        connected_.insert(node);
    } else if (const auto found = connected_.find(node); found != connected_.end()) {
        connected_.erase(found);
    }
}

void Issuer::audit(AuditLine& line, const Result<std::vector<OsslPtr<X509>>>& outcome) {
    line.event = outcome ? "issued" : "refused";
    if (outcome) {
        line.serial = ktls::serial_of(outcome->front().get());
    } else {
        line.reason = outcome.error().message();
    }
    audit(line);
}

void Issuer::audit(const AuditLine& line) {
    AuditLine stamped = line;
    stamped.time = options_.now();
    if (auto written = write_audit(folder_, stamped); !written) {
        // A full disk must not stop renewals; the line goes to the journal instead.
        fmt::print(stderr, "weft-ca: {} ({})\n", audit_text(stamped), written.error().message());
    }
}

void Issuer::announce() const {
    if (changed_) {
        changed_();
    }
}

} // namespace weft::ca

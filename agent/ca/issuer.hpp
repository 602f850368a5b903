// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Every decision of weft-ca: who gets a certificate, what is revoked, which step of a rotation may be taken. It speaks
// the messages of ca.proto and knows no network. Thread: any; one mutex, as requests are short and rare, and the state
// on disk must change in one order.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "agent/ca/audit.hpp"
#include "agent/ca/authority.hpp"
#include "agent/ca/join_tokens.hpp"
#include "agent/ca/ledger.hpp"
#include "agent/ca/pki/csr.hpp"
#include "agent/ca/pod_directory.hpp"
#include "agent/ca/rate_limit.hpp"
#include "ca.pb.h"

namespace weft::ca {

struct IssuerOptions {
    std::function<Time()> now; ///< the wall clock when empty
    double join_burst = 10, join_per_second = 0.5;      ///< per peer address
    double sign_burst = 500, sign_per_second = 50; ///< per node
};

/// A node, as its certificate proves it.
struct Caller {
    std::string node;
    std::string serial;
    std::string peer; ///< address, for the audit log
};

class Issuer {
public:
    /// Takes over the folder. `pods` may be null: then no workload gets a certificate from a node.
    static Result<std::unique_ptr<Issuer>> open(StateFolder folder, std::unique_ptr<PodDirectory> pods,
                                                IssuerOptions options = {});

    /// Errors: EACCES refused with the reason, EINVAL or EMSGSIZE for a bad request, EAGAIN too many requests.
    Result<NodeCertificate> join(const JoinRequest& request, const std::string& peer);
    Result<NodeCertificate> renew_node(const RenewNodeRequest& request, const Caller& caller);
    Result<WorkloadCertificate> sign_workload(const SignWorkloadRequest& request, const Caller& caller);
    void acknowledge(const Caller& caller, std::uint64_t version);
    /// Who sends that certificate, leaf first. Errors: EKEYREJECTED no node certificate of ours, EKEYEXPIRED,
    /// EKEYREVOKED.
    Result<Caller> authenticate(const std::string& chain_pem, const std::string& peer);
    /// Whether a caller that was let in before still may stay.
    [[nodiscard]] bool still_welcome(const Caller& caller);

    /// What nodes have to know now.
    [[nodiscard]] Bundle bundle();
    /// Called after each change of the bundle, without the lock. One listener; set it before requests come.
    void on_change(std::function<void()> changed) { changed_ = std::move(changed); }
    /// A node listens to changes, or does not any more.
    void set_connected(const std::string& node, bool connected);

    Result<ShowResponse> show();
    Result<ShowResponse> rotate(const RotateRequest& request);
    Result<RevokeResponse> revoke(const RevokeRequest& request);
    Result<CreateTokenResponse> create_token(const CreateTokenRequest& request);
    Result<IssueResponse> issue(const IssueRequest& request);

    /// Regular work, every minute or so: forgets the expired, renews the intermediate at half of its life. True when
    /// the server's own certificate has to be made anew: at half of its life, or when the clock was ahead as it was
    /// made.
    Result<bool> tick();
    /// Key, chain and root of the server itself as PEM, newly made.
    Result<std::string> server_identity();

private:
    Issuer(StateFolder folder, Authority authority, JoinTokens tokens, Ledger ledger,
           std::unique_ptr<PodDirectory> pods, IssuerOptions options);

    Result<std::vector<OsslPtr<X509>>> certify(pki::LeafKind kind, const pki::Csr& csr, seconds life,
                                               const std::string& node);
    Result<std::vector<OsslPtr<X509>>> judge_join(const JoinRequest& request, AuditLine& line);
    Result<std::vector<OsslPtr<X509>>> judge_workload(const SignWorkloadRequest& request, const Caller& caller,
                                                      AuditLine& line);
    Result<std::vector<OsslPtr<X509>>> judge_renewal(const RenewNodeRequest& request, const Caller& caller,
                                                     AuditLine& line);
    Result<> judge_rotation(const RotateRequest& request);
    void audit(AuditLine& line, const Result<std::vector<OsslPtr<X509>>>& outcome);
    void audit(const AuditLine& line);
    [[nodiscard]] Bundle bundle_locked() const;
    [[nodiscard]] ShowResponse show_locked();
    [[nodiscard]] Result<NodeCertificate> node_answer(const std::vector<OsslPtr<X509>>& chain) const;
    void announce() const;

    StateFolder folder_;
    Authority authority_;
    JoinTokens tokens_;
    Ledger ledger_;
    std::unique_ptr<PodDirectory> pods_;
    IssuerOptions options_;
    RateLimit join_limit_;
    RateLimit sign_limit_;
    std::map<std::string, std::uint64_t> acknowledged_; ///< by node
    std::multiset<std::string> connected_;
    Time server_from_{}; ///< before which nobody believes the server's certificate: the clock was ahead
    Time server_renewal_{}; ///< when server_identity() should be called again
    std::function<void()> changed_;
    std::mutex mutex_;
};

} // namespace weft::ca

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One thread of its own follows the bundle stream; everything else happens in the caller's thread. A renewed node
// certificate means a new channel, and the stream moves to it.
#include "agent/identity/ca_source.hpp"

#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>

#include "agent/ca/pki/chain.hpp"
#include "agent/ca/pki/csr.hpp"
#include "agent/ca/pki/durable_file.hpp"
#include "agent/ca/pki/key.hpp"
#include "agent/ca/pki/names.hpp"
#include "agent/ca/rpc/status_codes.hpp"
#include "agent/identity/ca_channel.hpp"
#include "agent/identity/node_files.hpp"
#include "ca.grpc.pb.h"

namespace weft::identity {
namespace {

constexpr auto kPatience = std::chrono::seconds(10);
constexpr auto kFirstPause = std::chrono::milliseconds(100);
constexpr auto kLongestPause = std::chrono::milliseconds(5000);

template <typename List>
Result<std::vector<OsslPtr<X509>>> certificates_of(const List& list) {
    std::vector<OsslPtr<X509>> all;
    for (const auto& der : list) {
        WEFT_ASSIGN(auto one, pki::certificate_from_der(der));
        all.push_back(std::move(one));
    }
    if (all.empty()) {
        return invalid("weft-ca sent no certificate");
    }
    return all;
}

Result<TrustPtr> trust_of(const ca::Bundle& bundle, const std::string& trust_domain) {
    if (bundle.trust_domain() != trust_domain) {
        return invalid("weft-ca is of trust domain '{}', not '{}'", bundle.trust_domain(), trust_domain);
    }
    auto trust = std::make_shared<Trust>();
    trust->version = bundle.version();
    WEFT_ASSIGN(auto roots, certificates_of(bundle.roots()));
    if (bundle.signing_root() >= roots.size()) {
        return invalid("weft-ca sent a bundle without the root that signs");
    }
    trust->signing_root = ktls::share(roots[bundle.signing_root()].get());
    trust->roots.emplace(trust_domain, std::move(roots));
    for (const auto& one : bundle.revocations()) {
        if (one.what_case() == ca::Revocation::kSerial) {
            trust->revocations.serials.insert(one.serial());
        } else {
            trust->revocations.ids.insert(one.spiffe_id());
        }
    }
    return trust;
}

class CaSource final : public Source {
public:
    CaSource(CaOptions options, NodeFiles files) : options_(std::move(options)), files_(std::move(files)) {}
    ~CaSource() override {
        {
            const std::scoped_lock lock(mutex_);
            stopping_ = true;
            if (stream_context_ != nullptr) {
                stream_context_->TryCancel();
            }
        }
        wake_.notify_all();
        if (follower_.joinable()) {
            follower_.join();
        }
    }

    [[nodiscard]] std::string name() const override { return "weft-ca " + options_.address; }
    void listen(std::function<void()> changed) override { changed_ = std::move(changed); }

    Result<> upkeep(Time now) override {
        if (!node_) {
            WEFT_TRY(load());
        }
        if (!node_) {
            WEFT_TRY(join());
        }
        WEFT_TRY(renew_when_due(now));
        return acknowledge();
    }

    Result<Svid> obtain(const SpiffeId& id) override {
        if (!channel_) {
            return failure(ECONNREFUSED, "this node has not joined yet");
        }
        Svid svid;
        WEFT_ASSIGN(svid.key, pki::new_key());
        ca::SignWorkloadRequest request;
        WEFT_ASSIGN(*request.mutable_csr(), pki::make_csr(svid.key.get(), id.to_string()));
        ca::WorkloadCertificate answer;
        WEFT_TRY(call(*channel_, &ca::CertificateAuthority::Stub::SignWorkload, request, answer));
        WEFT_ASSIGN(svid.chain, certificates_of(answer.chain()));
        return svid;
    }

    [[nodiscard]] TrustPtr trust() const override { return trust_->get(); }
    void applied(const TrustPtr& trust) override { applied_ = trust->version; }

private:
    template <typename In, typename Out>
    static Result<> call(const std::shared_ptr<grpc::Channel>& channel,
                         grpc::Status (ca::CertificateAuthority::Stub::*method)(grpc::ClientContext*, const In&, Out*),
                         const In& request, Out& answer) {
        const auto stub = ca::CertificateAuthority::NewStub(channel);
        grpc::ClientContext context;
        context.set_deadline(std::chrono::system_clock::now() + kPatience);
        if (const auto status = (stub.get()->*method)(&context, request, &answer); !status.ok()) {
            return std::unexpected(ca::from_status(status));
        }
        return {};
    }

    /// What an earlier run left.
    Result<> load() {
        WEFT_ASSIGN(auto roots, files_.read_roots());
        WEFT_ASSIGN(auto node, files_.read_node());
        if (!node || roots.empty()) {
            return {};
        }
        const auto uris = pki::uris_of(node->chain.front().get());
        const auto wanted = pki::NodeId{options_.trust_domain, options_.node_name}.to_string();
        if (uris.size() != 1 || uris.front() != wanted) {
            return invalid("{}: the certificate there is not for {}; empty the folder and join anew",
                           options_.state_folder, wanted);
        }
        auto trust = std::make_shared<Trust>();
        trust->roots.emplace(options_.trust_domain, std::move(roots));
        return use(std::move(*node), std::move(trust));
    }

    Result<> join() {
        if (options_.token_file.empty() || options_.fingerprint.empty()) {
            return failure(ENOKEY,
                           "this node has not joined: make a token with weft-ca token create --node {}, and "
                           "give it and the fingerprint",
                           options_.node_name);
        }
        WEFT_ASSIGN(auto token, pki::read_private(options_.token_file, pki::Access::kOwner, 4096));
        while (!token.empty() && std::isspace(static_cast<unsigned char>(token.back())) != 0) {
            token.pop_back();
        }
        Svid node;
        WEFT_ASSIGN(node.key, files_.joining_key());
        WEFT_ASSIGN(const auto channel,
                    open_channel(options_.address, {options_.trust_domain, nullptr, options_.now, options_.fingerprint},
                                 "", ""));
        ca::JoinRequest request;
        request.set_token(token);
        WEFT_ASSIGN(*request.mutable_csr(),
                    pki::make_csr(node.key.get(), pki::NodeId{options_.trust_domain, options_.node_name}.to_string()));
        ca::NodeCertificate answer;
        if (auto joined = call(channel, &ca::CertificateAuthority::Stub::Join, request, answer); !joined) {
            return std::unexpected(joined.error().within("join"));
        }
        WEFT_TRY(adopt(std::move(node), answer));
        return files_.drop_joining_key();
    }

    /// A new certificate at half of its life, when another root signs, or when the clock was ahead as this one was
    /// made.
    Result<> renew_when_due(Time now) {
        WEFT_ASSIGN(const auto life, pki::validity_of(node_->chain.front().get()));
        const auto trust = this->trust();
        bool due = now >= life.from + (life.to - life.from) / 2 || (now < life.from && !behind_);
        if (!due && trust->signing_root) {
            const std::span<const OsslPtr<X509>> root(&trust->signing_root, 1);
            due = !pki::verify_chain(node_->chain, root, pki::Purpose::kClient, std::nullopt);
        }
        if (!due) {
            return {};
        }
        Svid node;
        WEFT_ASSIGN(node.key, pki::new_key());
        ca::RenewNodeRequest request;
        WEFT_ASSIGN(*request.mutable_csr(),
                    pki::make_csr(node.key.get(), pki::NodeId{options_.trust_domain, options_.node_name}.to_string()));
        ca::NodeCertificate answer;
        if (auto renewed = call(*channel_, &ca::CertificateAuthority::Stub::RenewNode, request, answer); !renewed) {
            return std::unexpected(renewed.error().within("renew the node's certificate"));
        }
        WEFT_TRY(adopt(std::move(node), answer));
        WEFT_ASSIGN(const auto renewed_life, pki::validity_of(node_->chain.front().get()));
        behind_ = now < renewed_life.from;
        return {};
    }

    Result<> adopt(Svid node, const ca::NodeCertificate& answer) {
        WEFT_ASSIGN(node.chain, certificates_of(answer.chain()));
        if (X509_check_private_key(node.chain.front().get(), node.key.get()) != 1) {
            return invalid("weft-ca sent a certificate for another key");
        }
        WEFT_ASSIGN(auto trust, trust_of(answer.bundle(), options_.trust_domain));
        WEFT_TRY(files_.write_roots(trust->roots.at(options_.trust_domain)));
        WEFT_TRY(files_.write_node(node));
        return use(std::move(node), std::move(trust));
    }

    /// New channel, new stream.
    Result<> use(Svid node, TrustPtr trust) {
        set_trust(std::move(trust));
        WEFT_TRY(reopen(node));
        node_ = std::move(node);
        if (!follower_.joinable()) {
            follower_ = std::thread([this] { follow(); });
        }
        return {};
    }

    Result<> reopen(const Svid& node) {
        WEFT_ASSIGN(const auto key, pki::pem_of(node.key.get()));
        std::string chain;
        for (const auto& one : node.chain) {
            WEFT_ASSIGN(const auto pem, pki::pem_of(one.get()));
            chain += pem;
        }
        WEFT_ASSIGN(auto channel,
                    open_channel(options_.address, {options_.trust_domain, trust_, options_.now, ""}, key, chain));
        const std::scoped_lock lock(mutex_);
        channel_ = std::make_shared<std::shared_ptr<grpc::Channel>>(std::move(channel));
        if (stream_context_ != nullptr) {
            stream_context_->TryCancel();
        }
        return {};
    }

    void set_trust(TrustPtr trust) {
        trust_->set(std::move(trust));
        if (changed_) {
            changed_();
        }
    }

    /// Tells weft-ca that its newest bundle is in use here; again after each new stream, as it may have forgotten.
    Result<> acknowledge() {
        std::uint64_t wanted = 0;
        {
            const std::scoped_lock lock(mutex_);
            wanted = unacknowledged_;
        }
        if (wanted == 0 || applied_ < wanted) {
            return {};
        }
        ca::AcknowledgeBundleRequest request;
        request.set_version(wanted);
        ca::AcknowledgeBundleResponse answer;
        WEFT_TRY(call(*channel_, &ca::CertificateAuthority::Stub::AcknowledgeBundle, request, answer));
        const std::scoped_lock lock(mutex_);
        if (unacknowledged_ == wanted) {
            unacknowledged_ = 0;
        }
        return {};
    }

    /// The follower's whole life: a stream, and a pause before the next one.
    void follow() {
        std::minstd_rand random(std::random_device{}());
        auto pause = kFirstPause;
        while (true) {
            std::shared_ptr<std::shared_ptr<grpc::Channel>> channel;
            grpc::ClientContext context;
            // Waiting calls are what drives a reconnect; without one gRPC looks at its sockets every 5 s only.
            context.set_wait_for_ready(true);
            {
                const std::scoped_lock lock(mutex_);
                if (stopping_) {
                    return;
                }
                channel = channel_;
                stream_context_ = &context;
            }
            if (follow_stream(*channel, context)) {
                pause = kFirstPause;
            }
            std::unique_lock lock(mutex_);
            stream_context_ = nullptr;
            // A tenth more or less, so that nodes do not come back all at once.
            const auto spread = std::uniform_int_distribution<int>(90, 110)(random);
            wake_.wait_for(lock, pause * spread / 100, [&] { return stopping_ || channel_ != channel; });
            pause = std::min(pause * 2, kLongestPause);
        }
    }

    /// True when at least one bundle came.
    bool follow_stream(const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext& context) {
        const auto stub = ca::CertificateAuthority::NewStub(channel);
        const auto reader = stub->WatchBundle(&context, {});
        ca::Bundle bundle;
        bool any = false;
        while (reader->Read(&bundle)) {
            auto trust = trust_of(bundle, options_.trust_domain);
            if (!trust) {
                continue; // the last good one stays
            }
            any = true;
            // A restart without these roots could not believe a server that a later root signed; the fault shows then.
            (void)files_.write_roots((*trust)->roots.at(options_.trust_domain));
            {
                const std::scoped_lock lock(mutex_);
                unacknowledged_ = bundle.version();
            }
            set_trust(std::move(*trust));
        }
        (void)reader->Finish(); // whatever ended it, the next stream is tried after a pause
        return any;
    }

    const CaOptions options_;
    const NodeFiles files_;
    std::function<void()> changed_;
    std::optional<Svid> node_;
    bool behind_ = false; ///< our clock, compared with weft-ca's, as it last renewed the node's certificate
    std::uint64_t applied_ = 0;
    const std::shared_ptr<TrustCell> trust_ = std::make_shared<TrustCell>();
    std::thread follower_;
    mutable std::mutex mutex_; ///< guards what follows: shared by the caller's thread and the follower
    std::condition_variable wake_;
    /// Replaced, never changed, so that the follower sees by the pointer that there is a new one.
    std::shared_ptr<std::shared_ptr<grpc::Channel>> channel_;
    grpc::ClientContext* stream_context_ = nullptr;
    std::uint64_t unacknowledged_ = 0;
    bool stopping_ = false;
};

} // namespace

Result<std::unique_ptr<Source>> open_ca_source(CaOptions options) {
    WEFT_TRY(check_trust_domain(options.trust_domain));
    WEFT_TRY(pki::NodeId::make(options.trust_domain, options.node_name));
    if (options.address.rfind(':') == std::string::npos) {
        return invalid("the address of weft-ca '{}' is not HOST:PORT", options.address);
    }
    std::erase(options.fingerprint, ':');
    if (!options.fingerprint.empty() &&
        (options.fingerprint.size() != 64 ||
         options.fingerprint.find_first_not_of("0123456789abcdef") != std::string::npos)) {
        return invalid("the fingerprint '{}' is not 64 lower case hex digits", options.fingerprint);
    }
    WEFT_ASSIGN(auto files, NodeFiles::open(options.state_folder));
    return std::make_unique<CaSource>(std::move(options), std::move(files));
}

} // namespace weft::identity

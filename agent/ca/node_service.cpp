// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One reactor for each watching node. A reactor writes one bundle at a time and skips those that newer ones made stale.
#include "agent/ca/node_service.hpp"

#include <condition_variable>
#include <mutex>
#include <set>

#include <grpc/grpc_security_constants.h>

#include "agent/ca/rpc/status_codes.hpp"
#include "ca.grpc.pb.h"

namespace weft::ca {
namespace {

constexpr std::size_t kStreamsPerNode = 4;

using BundlePtr = std::shared_ptr<const Bundle>;

template <typename T>
grpc::Status finish(Result<T> result, T* out) {
    if (!result) {
        return to_status(result.error());
    }
    *out = std::move(*result);
    return grpc::Status::OK;
}

/// Peer address without its port, so that a limit holds for a machine.
std::string address_of(const grpc::CallbackServerContext& context) {
    const auto peer = context.peer();
    const auto colon = peer.rfind(':');
    return peer.substr(0, colon);
}

/// Leaf and what came with it, as PEM; empty for a client without a certificate.
std::string certificates_of(const grpc::CallbackServerContext& context) {
    const auto found = context.auth_context()->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
    if (found.empty()) {
        return {};
    }
    std::string pem(found.front().data(), found.front().size());
    // OpenSSL's chain of a client is without the leaf, and empty for a resumed session.
    const auto chain = context.auth_context()->FindPropertyValues("x509_pem_cert_chain");
    if (!chain.empty()) {
        pem.append(chain.front().data(), chain.front().size());
    }
    return pem;
}

} // namespace

class NodeService::Impl final
    : public CertificateAuthority::WithCallbackMethod_Join<CertificateAuthority::WithCallbackMethod_RenewNode<
          CertificateAuthority::WithCallbackMethod_SignWorkload<CertificateAuthority::WithCallbackMethod_WatchBundle<
              CertificateAuthority::WithCallbackMethod_AcknowledgeBundle<CertificateAuthority::Service>>>>> {
    class Watcher final : public grpc::ServerWriteReactor<Bundle> {
    public:
        Watcher(Impl& owner, Caller caller) : owner_(owner), caller_(std::move(caller)) {}

        void offer(BundlePtr bundle) {
            const std::scoped_lock lock(mutex_);
            if (finished_) {
                return;
            }
            if (writing_) {
                waiting_ = std::move(bundle);
                return;
            }
            write(std::move(bundle));
        }
        void end(const grpc::Status& status) {
            const std::scoped_lock lock(mutex_);
            end_locked(status);
        }
        [[nodiscard]] const Caller& caller() const { return caller_; }

    private:
        void write(BundlePtr bundle) {
            writing_ = std::move(bundle);
            StartWrite(writing_.get());
        }
        void end_locked(const grpc::Status& status) {
            if (!std::exchange(finished_, true)) {
                Finish(status);
            }
        }
        void OnWriteDone(bool ok) override {
            const std::scoped_lock lock(mutex_);
            writing_.reset();
            if (finished_) {
                return;
            }
            if (!ok) {
                end_locked(grpc::Status::CANCELLED);
            } else if (waiting_) {
                write(std::exchange(waiting_, nullptr));
            }
        }
        void OnCancel() override { end(grpc::Status::CANCELLED); }
        void OnDone() override {
            owner_.forget(this);
            delete this;
        }

        Impl& owner_;
        const Caller caller_;
        std::mutex mutex_; ///< gRPC calls from several threads
        BundlePtr writing_, waiting_;
        bool finished_ = false;
    };

    /// A stream that is refused.
    class Refusal final : public grpc::ServerWriteReactor<Bundle> {
    public:
        explicit Refusal(const grpc::Status& status) { Finish(status); }
        void OnDone() override { delete this; }
    };

public:
    explicit Impl(Issuer& issuer) : issuer_(issuer) {
        issuer_.on_change([this] { publish(); });
    }

    grpc::ServerUnaryReactor* Join(grpc::CallbackServerContext* context, const JoinRequest* in,
                                   NodeCertificate* out) override {
        return done(context, finish(issuer_.join(*in, address_of(*context)), out));
    }
    grpc::ServerUnaryReactor* RenewNode(grpc::CallbackServerContext* context, const RenewNodeRequest* in,
                                        NodeCertificate* out) override {
        const auto caller = authenticate(*context);
        return done(context, caller ? finish(issuer_.renew_node(*in, *caller), out) : to_status(caller.error()));
    }
    grpc::ServerUnaryReactor* SignWorkload(grpc::CallbackServerContext* context, const SignWorkloadRequest* in,
                                           WorkloadCertificate* out) override {
        const auto caller = authenticate(*context);
        return done(context, caller ? finish(issuer_.sign_workload(*in, *caller), out) : to_status(caller.error()));
    }
    grpc::ServerUnaryReactor* AcknowledgeBundle(grpc::CallbackServerContext* context,
                                                const AcknowledgeBundleRequest* in,
                                                AcknowledgeBundleResponse*) override {
        const auto caller = authenticate(*context);
        if (caller) {
            issuer_.acknowledge(*caller, in->version());
        }
        return done(context, caller ? grpc::Status::OK : to_status(caller.error()));
    }
    grpc::ServerWriteReactor<Bundle>* WatchBundle(grpc::CallbackServerContext* context,
                                                  const WatchBundleRequest*) override {
        auto caller = authenticate(*context);
        if (!caller) {
            return new Refusal(to_status(caller.error()));
        }
        Watcher* watcher = nullptr;
        {
            const std::scoped_lock lock(mutex_);
            std::size_t same = 0;
            for (const auto* other : watchers_) {
                same += other->caller().node == caller->node ? 1U : 0U;
            }
            if (stopping_ || same >= kStreamsPerNode) {
                return new Refusal({stopping_ ? grpc::StatusCode::UNAVAILABLE : grpc::StatusCode::RESOURCE_EXHAUSTED,
                                    stopping_ ? "weft-ca stops" : "this node watches often enough"});
            }
            watcher = new Watcher(*this, std::move(*caller));
            watchers_.insert(watcher);
            issuer_.set_connected(watcher->caller().node, true);
            // Under the lock, so that no newer bundle overtakes this one.
            watcher->offer(std::make_shared<const Bundle>(issuer_.bundle()));
        }
        return watcher;
    }

    void stop() {
        std::unique_lock lock(mutex_);
        stopping_ = true;
        for (auto* watcher : watchers_) {
            watcher->end({grpc::StatusCode::UNAVAILABLE, "weft-ca stops"});
        }
        empty_.wait(lock, [this] { return watchers_.empty(); });
    }

private:
    static grpc::ServerUnaryReactor* done(grpc::CallbackServerContext* context, const grpc::Status& status) {
        auto* reactor = context->DefaultReactor();
        reactor->Finish(status);
        return reactor;
    }
    Result<Caller> authenticate(const grpc::CallbackServerContext& context) {
        return issuer_.authenticate(certificates_of(context), address_of(context));
    }
    void publish() {
        const std::scoped_lock lock(mutex_);
        const auto bundle = std::make_shared<const Bundle>(issuer_.bundle());
        for (auto* watcher : watchers_) {
            if (issuer_.still_welcome(watcher->caller())) {
                watcher->offer(bundle);
            } else {
                watcher->end({grpc::StatusCode::UNAUTHENTICATED, "the certificate of this node is revoked"});
            }
        }
    }
    void forget(Watcher* watcher) {
        const std::scoped_lock lock(mutex_);
        watchers_.erase(watcher);
        issuer_.set_connected(watcher->caller().node, false);
        empty_.notify_all();
    }

    Issuer& issuer_;
    std::mutex mutex_; ///< guards watchers_ and stopping_; taken before a watcher's own and the issuer's
    std::condition_variable empty_;
    std::set<Watcher*> watchers_; ///< each deletes itself in OnDone(), after forget()
    bool stopping_ = false;
};

NodeService::NodeService(Issuer& issuer) : impl_(std::make_unique<Impl>(issuer)) {}
NodeService::~NodeService() = default;

grpc::Service& NodeService::service() {
    return *impl_;
}

void NodeService::stop() {
    impl_->stop();
}

} // namespace weft::ca

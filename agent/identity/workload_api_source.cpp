// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One thread follows the stream. Each answer replaces the one before, as the standard says; an answer that cannot be
// read keeps the last good one.
#include "agent/identity/workload_api_source.hpp"

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include <grpcpp/grpcpp.h>
#include <openssl/err.h>

#include "agent/ca/pki/openssl_owner.hpp"
#include "agent/ca/rpc/status_codes.hpp"
#include "spiffe/workload.grpc.pb.h"

namespace weft::identity {
namespace {

constexpr auto kFirstPause = std::chrono::milliseconds(100);
constexpr auto kLongestPause = std::chrono::milliseconds(5000);
constexpr int kLargestAnswer = 4 << 20;
constexpr std::string_view kScheme = "spiffe://";

Result<OsslPtr<EVP_PKEY>> key_from_der(const std::string& der) {
    const auto* at = reinterpret_cast<const unsigned char*>(der.data());
    OsslPtr<EVP_PKEY> key(d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(der.size())));
    if (!key) {
        return invalid("x509_svid_key: {}", pki::openssl_reason());
    }
    return key;
}

struct Answer {
    std::map<SpiffeId, Svid> svids;
    TrustPtr trust;
    std::vector<std::string> skipped; ///< identities that are no workload's as Weft shapes them
};

Result<> add_roots(Trust& trust, const std::string& domain, const std::string& der) {
    WEFT_TRY(check_trust_domain(domain));
    auto roots = pki::certificates_from_der(der);
    if (!roots) {
        return std::unexpected(roots.error().within("bundle of " + domain));
    }
    trust.roots.insert_or_assign(domain, std::move(*roots));
    return {};
}

Result<Answer> parse(const X509SVIDResponse& response) {
    Answer answer;
    auto trust = std::make_shared<Trust>();
    for (const auto& one : response.svids()) {
        auto id = SpiffeId::parse(one.spiffe_id());
        if (!id) {
            answer.skipped.push_back(id.error().message());
            continue;
        }
        Svid svid;
        auto chain = pki::certificates_from_der(one.x509_svid());
        auto key = key_from_der(one.x509_svid_key());
        if (!chain || !key) {
            return std::unexpected((chain ? key.error() : chain.error()).within(one.spiffe_id()));
        }
        WEFT_TRY(add_roots(*trust, id->trust_domain, one.bundle()));
        svid.chain = std::move(*chain);
        svid.key = std::move(*key);
        answer.svids.try_emplace(std::move(*id), std::move(svid)); // of several with one id the first is the default
    }
    for (const auto& [name, der] : response.federated_bundles()) {
        if (!name.starts_with(kScheme)) {
            return invalid("federated bundle of '{}': no SPIFFE ID", name);
        }
        WEFT_TRY(add_roots(*trust, name.substr(kScheme.size()), der));
    }
    answer.trust = std::move(trust);
    return answer;
}

class WorkloadApiSource final : public Source {
public:
    explicit WorkloadApiSource(std::string socket) : socket_(std::move(socket)) {
        thread_ = std::thread([this] { follow(); });
    }
    ~WorkloadApiSource() override {
        {
            const std::scoped_lock lock(mutex_);
            stopping_ = true;
            if (context_ != nullptr) {
                context_->TryCancel();
            }
        }
        wake_.notify_all();
        thread_.join();
    }

    [[nodiscard]] std::string name() const override { return "workload-api " + socket_; }
    void listen(std::function<void()> changed) override {
        const std::scoped_lock lock(mutex_);
        changed_ = std::move(changed);
    }
    Result<> upkeep(Time) override {
        const std::scoped_lock lock(mutex_);
        return trouble_ ? Result<>(std::unexpected(*trouble_)) : Result<>();
    }
    Result<Svid> obtain(const SpiffeId& id) override {
        const std::scoped_lock lock(mutex_);
        const auto found = answer_.svids.find(id);
        if (found == answer_.svids.end()) {
            return failure(ENOENT, "the server gives no identity {}{}{}", id.to_string(),
                           answer_.skipped.empty() ? "" : "; of what it gives: ",
                           answer_.skipped.empty() ? "" : answer_.skipped.front());
        }
        Svid copy{ktls::share(found->second.key.get()), {}};
        for (const auto& one : found->second.chain) {
            copy.chain.push_back(ktls::share(one.get()));
        }
        return copy;
    }
    [[nodiscard]] bool renews_itself() const override { return true; }
    [[nodiscard]] std::uint64_t generation() const override {
        const std::scoped_lock lock(mutex_);
        return generation_;
    }
    [[nodiscard]] TrustPtr trust() const override {
        const std::scoped_lock lock(mutex_);
        return answer_.trust;
    }

private:
    void follow() {
        grpc::ChannelArguments arguments;
        arguments.SetMaxReceiveMessageSize(kLargestAnswer);
        arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
        arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5000);
        const auto channel =
            grpc::CreateCustomChannel("unix:" + socket_, grpc::InsecureChannelCredentials(), arguments);
        const auto stub = SpiffeWorkloadAPI::NewStub(channel);
        auto pause = kFirstPause;
        while (true) {
            grpc::ClientContext context;
            // Waiting calls are what drives a reconnect; without one gRPC looks at its sockets every 5 s only.
            context.set_wait_for_ready(true);
            context.AddMetadata("workload.spiffe.io", "true"); // the standard asks for it: no browser can send it
            {
                const std::scoped_lock lock(mutex_);
                if (stopping_) {
                    return;
                }
                context_ = &context;
            }
            const auto reader = stub->FetchX509SVID(&context, {});
            X509SVIDResponse response;
            while (reader->Read(&response)) {
                take(parse(response));
                pause = kFirstPause;
            }
            const auto status = reader->Finish();
            take(std::unexpected(status.ok() ? Error(ECONNREFUSED, "the server ended the stream")
                                             : ca::from_status(status)));
            std::unique_lock lock(mutex_);
            context_ = nullptr;
            wake_.wait_for(lock, pause, [this] { return stopping_; });
            pause = std::min(pause * 2, kLongestPause);
        }
    }

    void take(Result<Answer> answer) {
        std::function<void()> changed;
        {
            const std::scoped_lock lock(mutex_);
            if (answer) {
                answer_ = std::move(*answer);
                trouble_.reset();
                ++generation_;
            } else {
                const bool same = trouble_ && trouble_->message() == answer.error().message();
                trouble_ = answer.error();
                if (same) {
                    return;
                }
            }
            changed = changed_;
        }
        if (changed) {
            changed();
        }
    }

    const std::string socket_;
    mutable std::mutex mutex_; ///< guards what follows
    std::condition_variable wake_;
    std::function<void()> changed_;
    Answer answer_;
    std::optional<Error> trouble_ = Error(ECONNREFUSED, "the server has not answered yet");
    std::uint64_t generation_ = 0;
    grpc::ClientContext* context_ = nullptr;
    bool stopping_ = false;
    std::thread thread_; ///< last: it uses all of the above
};

} // namespace

Result<std::unique_ptr<Source>> open_workload_api_source(const std::string& socket) {
    std::string path = socket;
    if (path.starts_with("unix://")) {
        path = path.substr(7);
    } else if (path.starts_with("unix:")) {
        path = path.substr(5);
    }
    if (!path.starts_with("/")) {
        return invalid("'{}' is no Workload API socket: write unix:///PATH", socket);
    }
    return std::make_unique<WorkloadApiSource>(path);
}

} // namespace weft::identity

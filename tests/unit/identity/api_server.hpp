// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A server of the SPIFFE Workload API on a unix socket, for tests.
#pragma once

#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "spiffe/workload.grpc.pb.h"

namespace weft::identity::test {

/// Streams what it was last given, as SPIRE's agent does.
class ApiServer final : public SpiffeWorkloadAPI::Service {
public:
    explicit ApiServer(const std::string& path) : path_(path) { start(); }
    ~ApiServer() override { stop(); }

    void start() {
        stopping_ = false;
        grpc::ServerBuilder builder;
        builder.AddListeningPort("unix:" + path_, grpc::InsecureServerCredentials());
        builder.RegisterService(this);
        server_ = builder.BuildAndStart();
        ASSERT_NE(server_, nullptr);
    }
    void stop() {
        {
            const std::scoped_lock lock(mutex_);
            stopping_ = true;
        }
        changed_.notify_all();
        if (server_) {
            server_->Shutdown(std::chrono::system_clock::now());
            server_->Wait();
            server_.reset();
        }
        ::unlink(path_.c_str());
    }
    void give(X509SVIDResponse response) {
        {
            const std::scoped_lock lock(mutex_);
            response_ = std::move(response);
            ++version_;
        }
        changed_.notify_all();
    }
    [[nodiscard]] int refusals() const { return refusals_; }

    grpc::Status FetchX509SVID(grpc::ServerContext* context, const X509SVIDRequest*,
                               grpc::ServerWriter<X509SVIDResponse>* out) override {
        const auto header = context->client_metadata().find("workload.spiffe.io");
        if (header == context->client_metadata().end() || header->second != "true") {
            return {grpc::StatusCode::INVALID_ARGUMENT, "security header missing"};
        }
        std::unique_lock lock(mutex_);
        if (response_.svids_size() == 0) {
            ++refusals_;
            return {grpc::StatusCode::PERMISSION_DENIED, "no identity issued"};
        }
        for (int sent = 0;;) {
            sent = version_;
            if (!out->Write(response_)) {
                return grpc::Status::CANCELLED;
            }
            while (!stopping_ && sent == version_ && !context->IsCancelled()) {
                changed_.wait_for(lock, std::chrono::milliseconds(20));
            }
            if (stopping_ || context->IsCancelled()) {
                return grpc::Status::CANCELLED;
            }
        }
    }

private:
    const std::string path_;
    std::mutex mutex_;
    std::condition_variable changed_;
    X509SVIDResponse response_;
    int version_ = 0;
    std::atomic<int> refusals_ = 0;
    bool stopping_ = false;
    std::unique_ptr<grpc::Server> server_;
};

} // namespace weft::identity::test

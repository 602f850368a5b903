// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/ca/client.hpp"

#include <unistd.h>

#include <grpcpp/grpcpp.h>

#include "agent/ca/server.hpp"
#include "agent/ca/rpc/status_codes.hpp"
#include "ca.grpc.pb.h"

namespace weft::ca {
namespace {

constexpr auto kPatience = std::chrono::seconds(20);

/// The folder is ours.
class Direct final : public Client {
public:
    explicit Direct(std::unique_ptr<Issuer> issuer) : issuer_(std::move(issuer)) {}

    Result<ShowResponse> show() override { return issuer_->show(); }
    Result<ShowResponse> rotate(const RotateRequest& request) override { return issuer_->rotate(request); }
    Result<RevokeResponse> revoke(const RevokeRequest& request) override { return issuer_->revoke(request); }
    Result<CreateTokenResponse> create_token(const CreateTokenRequest& request) override {
        return issuer_->create_token(request);
    }
    Result<IssueResponse> issue(const IssueRequest& request) override { return issuer_->issue(request); }

private:
    std::unique_ptr<Issuer> issuer_;
};

/// A server has the folder.
class Remote final : public Client {
public:
    explicit Remote(const std::string& socket)
        : stub_(Administration::NewStub(grpc::CreateChannel("unix:" + socket, grpc::InsecureChannelCredentials()))) {}

    Result<ShowResponse> show() override { return call(&Administration::Stub::Show, ShowRequest()); }
    Result<ShowResponse> rotate(const RotateRequest& request) override {
        return call(&Administration::Stub::Rotate, request);
    }
    Result<RevokeResponse> revoke(const RevokeRequest& request) override {
        return call(&Administration::Stub::Revoke, request);
    }
    Result<CreateTokenResponse> create_token(const CreateTokenRequest& request) override {
        return call(&Administration::Stub::CreateToken, request);
    }
    Result<IssueResponse> issue(const IssueRequest& request) override {
        return call(&Administration::Stub::Issue, request);
    }

private:
    template <typename In, typename Out>
    Result<Out> call(grpc::Status (Administration::Stub::*method)(grpc::ClientContext*, const In&, Out*),
                     const In& request) {
        grpc::ClientContext context;
        context.set_deadline(std::chrono::system_clock::now() + kPatience);
        Out answer;
        if (const auto status = (stub_.get()->*method)(&context, request, &answer); !status.ok()) {
            return std::unexpected(from_status(status));
        }
        return answer;
    }

    std::unique_ptr<Administration::Stub> stub_;
};

} // namespace

Result<std::unique_ptr<Client>> Client::open(const std::string& path) {
    if (::access(path.c_str(), F_OK) != 0) {
        return failure(ENOENT, "there is no folder {}: weft-ca init makes one", path);
    }
    auto folder = StateFolder::open(path);
    if (!folder) {
        if (folder.error().code() == EBUSY && ::access(admin_socket(path).c_str(), F_OK) == 0) {
            return std::make_unique<Remote>(admin_socket(path));
        }
        return std::unexpected(folder.error());
    }
    auto issuer = Issuer::open(std::move(*folder), nullptr);
    if (!issuer) {
        if (issuer.error().code() == ENOENT) {
            return failure(ENOENT, "there is no authority in {}: weft-ca init makes one", path);
        }
        return std::unexpected(issuer.error());
    }
    return std::make_unique<Direct>(std::move(*issuer));
}

} // namespace weft::ca

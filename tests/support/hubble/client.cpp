// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// hubble_client TARGET [--ca FILE] [--cert FILE --key FILE] [--name NAME] flows|status|nodes|namespaces|peers|admin
// [REQUEST] Prints each answer as a line of JSON; REQUEST is the request as JSON. `admin` asks for a service of the
// agent's that is not Hubble's. Ends with 1 and "error CODE TEXT" when the call fails. --ca: by TLS; --name: whom to
// expect.
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>

#include <fmt/format.h>
#include <google/protobuf/empty.pb.h>
#include <google/protobuf/util/json_util.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/client_unary_call.h>

#include "hubble/observer_client.grpc.pb.h"
#include "hubble/peer_client.grpc.pb.h"

namespace {

std::string contents(const std::string& file) {
    std::ostringstream text;
    text << std::ifstream(file).rdbuf();
    return text.str();
}

std::shared_ptr<grpc::Channel> channel(const std::string& target, std::map<std::string, std::string>& flags) {
    if (flags["ca"].empty()) {
        return grpc::CreateChannel(target, grpc::InsecureChannelCredentials());
    }
    grpc::SslCredentialsOptions tls;
    tls.pem_root_certs = contents(flags["ca"]);
    if (!flags["cert"].empty()) {
        tls.pem_cert_chain = contents(flags["cert"]);
        tls.pem_private_key = contents(flags["key"]);
    }
    grpc::ChannelArguments arguments;
    if (!flags["name"].empty()) {
        arguments.SetSslTargetNameOverride(flags["name"]);
    }
    return grpc::CreateCustomChannel(target, grpc::SslCredentials(tls), arguments);
}

void print(const google::protobuf::Message& message) {
    google::protobuf::util::JsonPrintOptions options;
    options.preserve_proto_field_names = true;
    options.always_print_primitive_fields = true;
    std::string text;
    (void)google::protobuf::util::MessageToJsonString(message, &text, options); // cannot fail: no Any inside
    fmt::print("{}\n", text);
    (void)std::fflush(stdout); // whoever waits for the line reads a file
}

template <typename Reader, typename Response>
grpc::Status print_all(Reader reader, Response response) {
    while (reader->Read(&response)) {
        print(response);
    }
    return reader->Finish();
}

grpc::Status run(const std::shared_ptr<grpc::Channel>& channel, const std::string& verb, const std::string& text) {
    grpc::ClientContext context;
    const auto observer = observer::Observer::NewStub(channel);
    if (verb == "flows") {
        observer::GetFlowsRequest request;
        if (!google::protobuf::util::JsonStringToMessage(text.empty() ? "{}" : text, &request).ok()) {
            return {grpc::StatusCode::INVALID_ARGUMENT, "REQUEST is no GetFlowsRequest"};
        }
        return print_all(observer->GetFlows(&context, request), observer::GetFlowsResponse());
    }
    if (verb == "peers") {
        return print_all(peer::Peer::NewStub(channel)->Notify(&context, {}), peer::Notification());
    }
    const auto once = [](const grpc::Status& status, const google::protobuf::Message& answer) {
        if (status.ok()) {
            print(answer);
        }
        return status;
    };
    if (verb == "status") {
        observer::ServerStatusResponse answer;
        return once(observer->ServerStatus(&context, {}, &answer), answer);
    }
    if (verb == "nodes") {
        observer::GetNodesResponse answer;
        return once(observer->GetNodes(&context, {}, &answer), answer);
    }
    if (verb == "namespaces") {
        observer::GetNamespacesResponse answer;
        return once(observer->GetNamespaces(&context, {}, &answer), answer);
    }
    if (verb == "admin") {
        const grpc::internal::RpcMethod method("/weft.admin.Admin/Status", grpc::internal::RpcMethod::NORMAL_RPC);
        google::protobuf::Empty request, answer;
        return grpc::internal::BlockingUnaryCall(channel.get(), method, &context, request, &answer);
    }
    return {grpc::StatusCode::INVALID_ARGUMENT, "no such verb"};
}

} // namespace

int main(int argc, char** argv) {
    std::map<std::string, std::string> flags;
    std::vector<std::string> words;
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        if (word.starts_with("--") && i + 1 < argc) {
            flags[word.substr(2)] = argv[++i];
        } else {
            words.push_back(word);
        }
    }
    if (words.size() < 2) {
        std::fputs("usage: hubble_client TARGET VERB [REQUEST]\n", stderr);
        return 2;
    }
    const auto status = run(channel(words[0], flags), words[1], words.size() > 2 ? words[2] : "");
    if (!status.ok()) {
        fmt::print("error {} {}\n", static_cast<int>(status.error_code()), status.error_message());
        return 1;
    }
    return 0;
}

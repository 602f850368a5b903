// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/otlp/exporter.hpp"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "agent/otlp/record.hpp"
#include "flow/flow.pb.h"

namespace weft::otlp {
namespace {

constexpr const char* kLogs = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
constexpr const char* kTraces = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// "NAME: VALUE" lines, as HTTP writes them.
Result<std::vector<std::pair<std::string, std::string>>> headers(const std::string& path) {
    std::vector<std::pair<std::string, std::string>> out;
    if (path.empty()) {
        return out;
    }
    std::ifstream file(path);
    if (!file) {
        return system_failure("otlp_headers_file: {}", path);
    }
    int number = 0;
    for (std::string line; std::getline(file, line);) {
        ++number;
        if (line.find_first_not_of(" \t\r") == std::string::npos) {
            continue;
        }
        const auto colon = line.find(':');
        auto name = line.substr(0, colon);
        std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
        const auto begin = colon == std::string::npos ? colon : line.find_first_not_of(" \t", colon + 1);
        const auto end = line.find_last_not_of(" \t\r");
        if (begin == std::string::npos || name.empty() || name.starts_with("grpc-") ||
            name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_.") != std::string::npos) {
            return invalid("otlp_headers_file: {}:{}: not NAME: VALUE", path, number);
        }
        out.emplace_back(name, line.substr(begin, end - begin + 1));
    }
    return out;
}

Result<std::string> content(const char* key, const std::string& path) {
    if (path.empty()) {
        return std::string();
    }
    std::ifstream file(path, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    if (!file || text.find("-----BEGIN ") == std::string::npos) {
        return invalid("{}: {} holds nothing in PEM form", key, path);
    }
    return text;
}

Resource resource_of(const ExporterOptions& options) {
    std::map<std::string, std::string> all = options.resource;
    all.emplace("service.name", "weft");
    all.emplace("service.version", WEFT_VERSION);
    all.emplace("service.instance.id", options.node_name);
    all.emplace("k8s.node.name", options.node_name);
    all.emplace("k8s.cluster.name", options.cluster_name);
    Resource out;
    for (const auto& [key, value] : all) {
        auto& attribute = *out.add_attributes();
        attribute.set_key(key);
        attribute.mutable_value()->set_string_value(value);
    }
    return out;
}

} // namespace

Result<std::unique_ptr<Exporter>> Exporter::start(const ExporterOptions& options) {
    WEFT_ASSIGN(const auto endpoint, parse_endpoint(options.endpoint));
    auto credentials = grpc::InsecureChannelCredentials();
    if (endpoint.tls) {
        grpc::SslCredentialsOptions tls;
        WEFT_ASSIGN(tls.pem_root_certs, content("otlp_ca", options.ca));
        WEFT_ASSIGN(tls.pem_cert_chain, content("otlp_cert", options.certificate));
        WEFT_ASSIGN(tls.pem_private_key, content("otlp_key", options.key));
        credentials = grpc::SslCredentials(tls);
    }
    auto settings = options.pipeline;
    WEFT_ASSIGN(settings.headers, headers(options.headers_file));
    settings.resource = resource_of(options);
    grpc::ChannelArguments arguments;
    arguments.SetUserAgentPrefix("weft/" WEFT_VERSION);
    // A receiver that comes back is found as soon as the next attempt is due.
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, static_cast<int>(settings.first_delay.count()));
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, static_cast<int>(settings.first_delay.count()));
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, static_cast<int>(settings.longest_delay.count()));
    const auto channel = grpc::CreateCustomChannel(endpoint.target, credentials, arguments);
    if (!channel) {
        return invalid("otlp_endpoint: no way to {}", options.endpoint);
    }
    std::unique_ptr<Exporter> out(new Exporter());
    out->sampling_ = options.sampling;
    if (options.logs) {
        settings.method = kLogs;
        out->logs_ = std::make_unique<Pipeline>(channel, settings);
    }
    if (options.spans) {
        settings.method = kTraces;
        out->spans_ = std::make_unique<Pipeline>(channel, settings);
    }
    return out;
}

void Exporter::add(const flow::Flow& flow) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    auto records = make_records(flow, std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
    if (!records) {
        return;
    }
    if (!records->denied) {
        auto share = sampling_.find(records->namespace_name);
        if (share == sampling_.end()) {
            share = sampling_.find("*");
        }
        if (share != sampling_.end() && records->key % 100 >= share->second) {
            ++sampled_out_;
            return;
        }
    }
    if (logs_) {
        logs_->add(std::move(records->log), records->denied);
    }
    if (spans_) {
        spans_->add(std::move(records->span), records->denied);
    }
}

std::vector<Exporter::Stats> Exporter::stats() const {
    std::vector<Stats> out;
    for (const auto& [name, pipeline] : {std::pair("logs", logs_.get()), std::pair("spans", spans_.get())}) {
        if (pipeline != nullptr) {
            out.push_back({.signal = name, .sampled_out = sampled_out_, .sent = pipeline->stats()});
        }
    }
    return out;
}

} // namespace weft::otlp

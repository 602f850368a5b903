// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "tests/support/otlp/receiver.hpp"

#include <chrono>
#include <stdexcept>
#include <thread>

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>

#include "logs_service.grpc.pb.h"
#include "retry_details.pb.h"
#include "trace_service.grpc.pb.h"

namespace weft::test {
namespace {

namespace logs_v1 = opentelemetry::proto::collector::logs::v1;
namespace trace_v1 = opentelemetry::proto::collector::trace::v1;
namespace otel = opentelemetry::receiver;

long now_ms() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

std::string text_of(const otel::AnyValue& value) {
    switch (value.value_case()) {
    case otel::AnyValue::kStringValue:
        return value.string_value();
    case otel::AnyValue::kBoolValue:
        return value.bool_value() ? "true" : "false";
    case otel::AnyValue::kIntValue:
        return std::to_string(value.int_value());
    default:
        return "?";
    }
}

template <typename Attributes>
std::map<std::string, std::string> map_of(const Attributes& attributes) {
    std::map<std::string, std::string> out;
    for (const auto& one : attributes) {
        if (!out.emplace(one.key(), text_of(one.value())).second) {
            out[one.key()] = "twice"; // the specification wants each key once
        }
    }
    return out;
}

std::string hex(const std::string& bytes) {
    std::string out;
    for (const char byte : bytes) {
        out += fmt::format("{:02x}", static_cast<unsigned char>(byte));
    }
    return out;
}

Received received(const otel::LogRecord& log) {
    Received out;
    out.fields = {{"time", std::to_string(log.time_unix_nano())},
                  {"observed", std::to_string(log.observed_time_unix_nano())},
                  {"severity", otel::SeverityNumber_Name(log.severity_number())},
                  {"severity_text", log.severity_text()},
                  {"body", text_of(log.body())},
                  {"event", log.event_name()},
                  {"trace_id", hex(log.trace_id())},
                  {"span_id", hex(log.span_id())}};
    out.attributes = map_of(log.attributes());
    return out;
}

Received received(const otel::Span& span) {
    Received out;
    out.fields = {{"start", std::to_string(span.start_time_unix_nano())},
                  {"end", std::to_string(span.end_time_unix_nano())},
                  {"name", span.name()},
                  {"kind", otel::Span::SpanKind_Name(span.kind())},
                  {"status", otel::Status::StatusCode_Name(span.status().code())},
                  {"message", span.status().message()},
                  {"trace_id", hex(span.trace_id())},
                  {"span_id", hex(span.span_id())},
                  {"parent", hex(span.parent_span_id())}};
    out.attributes = map_of(span.attributes());
    return out;
}

grpc::Status failed(const Answer& answer) {
    const auto code = static_cast<grpc::StatusCode>(answer.code);
    if (answer.retry_after_ms < 0) {
        return {code, "as the test wants it"};
    }
    google::rpc::RetryInfo info;
    info.mutable_retry_delay()->set_seconds(answer.retry_after_ms / 1000);
    info.mutable_retry_delay()->set_nanos(static_cast<int>(answer.retry_after_ms % 1000 * 1'000'000));
    google::rpc::Status detailed;
    detailed.set_code(answer.code);
    detailed.add_details()->PackFrom(info);
    return {code, "as the test wants it", detailed.SerializeAsString()};
}

} // namespace

class OtlpReceiver::Services final {
public:
    Services() : logs_(*this), traces_(*this) {}

    int listen(const std::string& address, const std::string& certificate, const std::string& key) {
        auto credentials = grpc::InsecureServerCredentials();
        if (!certificate.empty()) {
            grpc::SslServerCredentialsOptions tls;
            tls.pem_key_cert_pairs.push_back({key, certificate});
            credentials = grpc::SslServerCredentials(tls);
        }
        int port = 0;
        grpc::ServerBuilder builder;
        builder.AddListeningPort(address, credentials, &port);
        builder.RegisterService(&logs_);
        builder.RegisterService(&traces_);
        server_ = builder.BuildAndStart();
        if (!server_) {
            throw std::runtime_error("no OTLP receiver at " + address);
        }
        return port;
    }
    void close() {
        if (server_) {
            server_->Shutdown(std::chrono::system_clock::now());
            server_.reset();
        }
    }

    mutable std::mutex mutex; ///< guards what follows: gRPC's threads write, the test reads
    std::deque<Answer> answers;
    std::vector<Received> logs, spans;
    std::vector<Request> requests;

private:
    /// What this request is answered with; noted.
    Answer begin(const grpc::ServerContext& context) {
        Answer answer;
        {
            const std::lock_guard lock(mutex);
            Request request{.at_ms = now_ms(), .metadata = {}};
            for (const auto& [name, value] : context.client_metadata()) {
                request.metadata.emplace(std::string(name.data(), name.size()),
                                         std::string(value.data(), value.size()));
            }
            requests.push_back(std::move(request));
            if (!answers.empty()) {
                answer = answers.front();
                answers.pop_front();
            }
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(answer.delay_ms));
        return answer;
    }
    /// Keeps all but the first `rejected`.
    template <typename Resource, typename Records>
    static void keep(std::vector<Received>& out, const Resource& resource, const std::string& scope,
                     const Records& records, long& rejected) {
        for (const auto& record : records) {
            if (rejected > 0) {
                --rejected;
                continue;
            }
            out.push_back(received(record));
            out.back().resource = map_of(resource.attributes());
            out.back().scope = scope;
        }
    }

    class Logs final : public logs_v1::LogsService::Service {
    public:
        explicit Logs(Services& all) : all_(all) {}
        grpc::Status Export(grpc::ServerContext* context, const logs_v1::ExportLogsServiceRequest* in,
                            logs_v1::ExportLogsServiceResponse* out) override {
            const auto answer = all_.begin(*context);
            if (answer.code != 0) {
                return failed(answer);
            }
            auto rejected = answer.rejected;
            const std::lock_guard lock(all_.mutex);
            for (const auto& resource : in->resource_logs()) {
                for (const auto& scope : resource.scope_logs()) {
                    keep(all_.logs, resource.resource(), scope.scope().name(), scope.log_records(), rejected);
                }
            }
            if (answer.rejected > 0) {
                out->mutable_partial_success()->set_rejected_log_records(answer.rejected);
                out->mutable_partial_success()->set_error_message("too odd");
            }
            return grpc::Status::OK;
        }

    private:
        Services& all_;
    };
    class Traces final : public trace_v1::TraceService::Service {
    public:
        explicit Traces(Services& all) : all_(all) {}
        grpc::Status Export(grpc::ServerContext* context, const trace_v1::ExportTraceServiceRequest* in,
                            trace_v1::ExportTraceServiceResponse* out) override {
            const auto answer = all_.begin(*context);
            if (answer.code != 0) {
                return failed(answer);
            }
            auto rejected = answer.rejected;
            const std::lock_guard lock(all_.mutex);
            for (const auto& resource : in->resource_spans()) {
                for (const auto& scope : resource.scope_spans()) {
                    keep(all_.spans, resource.resource(), scope.scope().name(), scope.spans(), rejected);
                }
            }
            if (answer.rejected > 0) {
                out->mutable_partial_success()->set_rejected_spans(answer.rejected);
            }
            return grpc::Status::OK;
        }

    private:
        Services& all_;
    };
    Logs logs_;
    Traces traces_;
    std::unique_ptr<grpc::Server> server_;
};

OtlpReceiver::OtlpReceiver(std::string address, std::string certificate, std::string key)
    : address_(std::move(address)), certificate_(std::move(certificate)), key_(std::move(key)),
      services_(std::make_unique<Services>()) {
    start();
}

OtlpReceiver::~OtlpReceiver() {
    stop();
}

void OtlpReceiver::stop() {
    services_->close();
}

void OtlpReceiver::start() {
    port_ = services_->listen(address_, certificate_, key_);
    if (address_.ends_with(":0")) {
        address_ = address_.substr(0, address_.size() - 1) + std::to_string(port_);
    }
}

void OtlpReceiver::answer(std::deque<Answer> answers) {
    const std::lock_guard lock(services_->mutex);
    services_->answers = std::move(answers);
}

std::vector<Received> OtlpReceiver::logs() const {
    const std::lock_guard lock(services_->mutex);
    return services_->logs;
}

std::vector<Received> OtlpReceiver::spans() const {
    const std::lock_guard lock(services_->mutex);
    return services_->spans;
}

std::vector<OtlpReceiver::Request> OtlpReceiver::requests() const {
    const std::lock_guard lock(services_->mutex);
    return services_->requests;
}

} // namespace weft::test

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `weft-ca issue`: a certificate for what is no pod, as the three files that cert-manager writes. The key is made here
// and never leaves this machine. Also: durations, and how commands end with an error.
#include <sys/stat.h>

#include <charconv>

#include "agent/ca/command/command.hpp"
#include "agent/ca/pki/certificate.hpp"
#include "agent/ca/pki/durable_file.hpp"
#include "agent/ca/pki/key.hpp"
#include "tools/weft/document.hpp"

namespace weft::ca {
namespace {

struct IssueOptions {
    std::string id, out, life;
};

Result<std::string> pem_of_all(const google::protobuf::RepeatedPtrField<std::string>& certificates) {
    std::string text;
    for (const auto& der : certificates) {
        WEFT_ASSIGN(const auto certificate, pki::certificate_from_der(der));
        WEFT_ASSIGN(const auto pem, pki::pem_of(certificate.get()));
        text += pem;
    }
    return text;
}

Result<IssueResponse> issue(Client& client, const IssueOptions& options) {
    IssueRequest request;
    if (!options.life.empty()) {
        WEFT_ASSIGN(const auto life, parse_duration(options.life));
        request.set_lifetime(life.count());
    }
    WEFT_ASSIGN(const auto key, pki::new_key());
    WEFT_ASSIGN(*request.mutable_csr(), pki::make_csr(key.get(), options.id));
    WEFT_ASSIGN(auto answer, client.issue(request));
    if (::mkdir(options.out.c_str(), 0755) != 0 && errno != EEXIST) {
        return system_failure("make folder {}", options.out);
    }
    WEFT_ASSIGN(const auto secret, pki::pem_of(key.get()));
    WEFT_ASSIGN(const auto chain, pem_of_all(answer.chain()));
    WEFT_ASSIGN(const auto roots, pem_of_all(answer.roots()));
    WEFT_TRY(pki::write_durable(options.out + "/tls.key", secret));
    WEFT_TRY(pki::write_durable(options.out + "/tls.crt", chain, pki::Access::kWorld));
    WEFT_TRY(pki::write_durable(options.out + "/ca.crt", roots, pki::Access::kWorld));
    return answer;
}

} // namespace

void add_issue_command(CLI::App& app, CommandGlobals& globals) {
    auto options = std::make_shared<IssueOptions>();
    auto* command = app.add_subcommand("issue", "A certificate for what is no pod: tls.key, tls.crt and ca.crt");
    command->add_option("ID", options->id, "spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT")->required();
    command->add_option("--out", options->out, "Folder for the files")->option_text("DIR")->required();
    command->add_option("--life", options->life, "How long it counts [as for workloads]")->option_text("TIME");
    cli::add_output_options(*command, globals.output);
    command->callback([&globals, options] {
        const auto client = value_or_fail(Client::open(globals.folder));
        const auto answer = value_or_fail(issue(*client, *options));
        print_answer(globals, answer,
                     [&] { return fmt::format("{0}/tls.key\n{0}/tls.crt\n{0}/ca.crt\n", options->out); });
    });
}

void print_answer(const CommandGlobals& globals, const google::protobuf::Message& message,
                  const std::function<std::string()>& table) {
    switch (globals.output.format) {
    case cli::Format::kJson:
        fmt::print("{}\n", cli::to_json(message).dump(2));
        return;
    case cli::Format::kYaml:
        fmt::print("{}", cli::to_yaml(cli::to_json(message)));
        return;
    case cli::Format::kTable:
    case cli::Format::kWide:
        fmt::print("{}", table());
    }
}

void fail(cli::ExitCode code, const std::string& text) {
    fmt::print(stderr, "weft-ca: {}\n", text);
    throw CLI::RuntimeError(code);
}

cli::ExitCode exit_code_of(const Error& error) {
    return cli::exit_code_of(error);
}

Result<seconds> parse_duration(const std::string& text) {
    std::int64_t count = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
    const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
    std::int64_t factor = 0;
    if (unit == "s") {
        factor = 1;
    } else if (unit == "m") {
        factor = 60;
    } else if (unit == "h") {
        factor = 3600;
    } else if (unit == "d") {
        factor = 86400;
    }
    // 100 years are enough, and far from any overflow.
    if (error != std::errc{} || factor == 0 || count <= 0 || count > std::int64_t{36500} * 86400 / factor) {
        return invalid("'{}' is no time: write 30s, 90m, 24h or 7d", text);
    }
    return seconds(count * factor);
}

} // namespace weft::ca

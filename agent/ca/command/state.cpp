// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `weft-ca show`, `weft-ca rotate`, `weft-ca revoke` and `weft-ca token`.
#include <chrono>

#include "agent/ca/command/command.hpp"
#include "agent/ca/pki/certificate.hpp"
#include "tools/weft/table.hpp"

namespace weft::ca {
namespace {

std::string time_cell(std::int64_t unix_time) {
    return unix_time == 0 ? std::string("never") : pki::time_text(Time(seconds(unix_time)));
}

std::string left_cell(std::int64_t until) {
    const auto now = std::chrono::floor<seconds>(std::chrono::system_clock::now());
    const auto left = Time(seconds(until)) - now;
    return left <= seconds(0) ? "expired" : cli::age_text(static_cast<double>(left.count()));
}

/// The rows, or a sentence when there are none.
std::string text_or_nothing(const cli::Table& table, const CommandGlobals& globals, const char* what) {
    if (table.empty()) {
        fmt::print(stderr, "No {} found.\n", what);
    }
    return table.text(!globals.output.no_headers);
}

cli::Table table_of(std::vector<std::string> columns) {
    return {std::move(columns), {}, false};
}

std::string roots_table(const CommandGlobals& globals, const ShowResponse& state) {
    auto table = table_of({"KIND", "NUMBER", "PHASE", "EXPIRES", "LEFT", "KEY", "FINGERPRINT"});
    for (const auto& root : state.roots()) {
        table.add({"root", std::to_string(root.number()), root.phase(), time_cell(root.not_after()),
                   left_cell(root.not_after()), root.has_key() ? "here" : "elsewhere", root.fingerprint()});
    }
    const auto& own = state.intermediate();
    table.add({"intermediate", std::to_string(own.number()), "signing", time_cell(own.not_after()),
               left_cell(own.not_after()), "here", ""});
    return fmt::format("trust domain {}, bundle version {}\n{}", state.trust_domain(), state.bundle_version(),
                       table.text(!globals.output.no_headers));
}

std::string certificates_table(const CommandGlobals& globals, const ShowResponse& state) {
    auto table = table_of({"SERIAL", "IDENTITY", "NODE", "ROOT", "EXPIRES", "LEFT", "STATE"});
    for (const auto& one : state.certificates()) {
        table.add({one.serial(), one.spiffe_id(), one.node(), std::to_string(one.root()), time_cell(one.not_after()),
                   left_cell(one.not_after()), one.revoked() ? "revoked" : "valid"});
    }
    return text_or_nothing(table, globals, "certificates");
}

std::string nodes_table(const CommandGlobals& globals, const ShowResponse& state) {
    auto table = table_of({"NODE", "CONNECTED", "BUNDLE", "STATE"});
    for (const auto& node : state.nodes()) {
        table.add({node.name(), node.connected() ? "yes" : "no", std::to_string(node.bundle_version()),
                   node.bundle_version() < state.bundle_version() ? "behind" : "up to date"});
    }
    for (const auto& token : state.tokens()) {
        table.add({token.node(), "no", "", "join token until " + time_cell(token.expires())});
    }
    return text_or_nothing(table, globals, "nodes");
}

std::string revocations_table(const CommandGlobals& globals,
                              const google::protobuf::RepeatedPtrField<Revocation>& revocations) {
    auto table = table_of({"REVOKED", "AT", "UNTIL"});
    for (const auto& one : revocations) {
        table.add({one.serial().empty() ? one.spiffe_id() : one.serial(), time_cell(one.revoked_at()),
                   time_cell(one.expires())});
    }
    return text_or_nothing(table, globals, "revocations");
}

} // namespace

void print_state(const CommandGlobals& globals, const ShowResponse& state) {
    print_answer(globals, state, [&] { return roots_table(globals, state); });
}

void add_show_command(CLI::App& app, CommandGlobals& globals) {
    auto what = std::make_shared<std::string>("roots");
    auto* command = app.add_subcommand("show", "Roots and what signs; certificates, nodes or revocations");
    command->add_option("WHAT", *what, "roots, certificates, nodes or revocations [roots]")
        ->check(CLI::IsMember({"roots", "certificates", "nodes", "revocations"}).description(""));
    cli::add_output_options(*command, globals.output);
    command->callback([&globals, what] {
        const auto state = value_or_fail(value_or_fail(Client::open(globals.folder))->show());
        print_answer(globals, state, [&] {
            if (*what == "certificates") {
                return certificates_table(globals, state);
            }
            if (*what == "nodes") {
                return nodes_table(globals, state);
            }
            return *what == "revocations" ? revocations_table(globals, state.revocations())
                                          : roots_table(globals, state);
        });
    });
}

void add_rotate_command(CLI::App& app, CommandGlobals& globals) {
    auto force = std::make_shared<bool>(false);
    auto* command = app.add_subcommand("rotate", "A new root in three steps, or a new intermediate");
    command->require_subcommand(1);
    const auto add = [&](const char* name, const char* text, RotateRequest::Step step) {
        auto* sub = command->add_subcommand(name, text);
        sub->add_flag("--force", *force, "Go on although nodes or connections would be cut off");
        cli::add_output_options(*sub, globals.output);
        sub->callback([&globals, force, step] {
            RotateRequest request;
            request.set_step(step);
            request.set_force(*force);
            print_state(globals, value_or_fail(value_or_fail(Client::open(globals.folder))->rotate(request)));
        });
    };
    add("publish", "1. make a new root; every node learns to trust it", RotateRequest::STEP_PUBLISH);
    add("switch", "2. sign below the new root; nodes renew what they have", RotateRequest::STEP_SWITCH);
    add("retire", "3. trust the old root no more", RotateRequest::STEP_RETIRE);
    add("intermediate", "a new intermediate below the present root", RotateRequest::STEP_INTERMEDIATE);
}

void add_revoke_command(CLI::App& app, CommandGlobals& globals) {
    auto request = std::make_shared<RevokeRequest>();
    auto what = std::make_shared<std::string>();
    auto undo = std::make_shared<bool>(false);
    auto* command = app.add_subcommand("revoke", "Make every node refuse a certificate, a workload or a node");
    command->add_option("WHAT", *what, "SPIFFE ID of a workload or node, or a serial number")->required();
    command->add_flag("--undo", *undo, "Let an identity have new certificates again; old ones stay revoked");
    cli::add_output_options(*command, globals.output);
    command->callback([&globals, request, what, undo] {
        request->set_what(*what);
        request->set_undo(*undo);
        const auto answer = value_or_fail(value_or_fail(Client::open(globals.folder))->revoke(*request));
        print_answer(globals, answer, [&] { return revocations_table(globals, answer.revocations()); });
    });
}

void add_token_command(CLI::App& app, CommandGlobals& globals) {
    auto node = std::make_shared<std::string>();
    auto life = std::make_shared<std::string>("1h");
    auto* command = app.add_subcommand("token", "Join tokens of nodes")->require_subcommand(1);
    auto* create = command->add_subcommand("create", "A token with which one node joins, once; it is shown only here");
    create->add_option("--node", *node, "Name of the node")->option_text("NAME")->required();
    create->add_option("--life", *life, "How long it can be used")->option_text("TIME")->capture_default_str();
    cli::add_output_options(*create, globals.output);
    create->callback([&globals, node, life] {
        CreateTokenRequest request;
        request.set_node(*node);
        request.set_lifetime(value_or_fail(parse_duration(*life)).count());
        const auto answer = value_or_fail(value_or_fail(Client::open(globals.folder))->create_token(request));
        print_answer(globals, answer, [&] {
            return fmt::format("token        {}\nnode         {}\nexpires      {}\nfingerprint  {}\n", answer.token(),
                               answer.node(), time_cell(answer.expires()), answer.fingerprint());
        });
    });
}

} // namespace weft::ca

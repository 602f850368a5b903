// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `weft map list|dump` and `weft conn list`: what lies in the kernel now. `weft conn trace` is a file of its own.
#include <fmt/format.h>

#include "tools/weft/client.hpp"
#include "tools/weft/conn_commands.hpp"
#include "tools/weft/page.hpp"

namespace weft::cli {
namespace {

std::string map_table(const admin::ListMapsResponse& answer, const Globals& globals) {
    Table table({"NAME", "TYPE", "ENTRIES", "CAPACITY", "USED", "WRITER", "DRIFT"}, {"PURPOSE"},
                globals.format == Format::kWide);
    for (const auto& map : answer.maps()) {
        const bool counted = !map.uncounted() && map.capacity() > 0;
        table.add({map.name(), map.type(), map.uncounted() ? "-" : std::to_string(map.entries()),
                   std::to_string(map.capacity()),
                   counted ? fmt::format("{:.0f}%", 100.0 * static_cast<double>(map.entries()) /
                                                        static_cast<double>(map.capacity()))
                           : "-",
                   map.writer(), std::to_string(map.drift()), map.help()});
    }
    return table_or_nothing(table, globals, "maps");
}

nlohmann::ordered_json entry_json(const admin::MapEntry& entry) {
    auto hex = [](const std::string& bytes) {
        std::string out;
        for (const char c : bytes) {
            out += fmt::format("{:02x}", static_cast<unsigned char>(c));
        }
        return out;
    };
    return {{"key", entry.key()},
            {"value", entry.value()},
            {"raw_key", hex(entry.raw_key())},
            {"raw_value", hex(entry.raw_value())}};
}

void dump(const Globals& globals, const std::string& name) {
    auto client = value_or_fail(Client::connect(globals.socket));
    Table table({"KEY", "VALUE"}, {}, false);
    auto entries = nlohmann::ordered_json::array();
    const bool document = globals.format == Format::kJson || globals.format == Format::kYaml;
    value_or_fail(client.dump_map(name, [&](const admin::MapEntry& entry) {
        if (document) {
            entries.push_back(entry_json(entry));
        } else {
            table.add({entry.key(), entry.value()});
        }
    }));
    if (document) {
        fmt::print("{}", globals.format == Format::kJson ? entries.dump(2) + "\n" : to_yaml(entries));
    } else {
        fmt::print("{}", table_or_nothing(table, globals, "entries"));
    }
}

std::string connections(Client& client, const Globals& globals, const std::string& namespace_name) {
    admin::ListConnectionsRequest request;
    request.set_namespace_(namespace_name);
    Table table({"WORKLOAD", "ROLE", "PROTOCOL", "LOCAL", "REMOTE", "PEER", "STATE", "VERDICT", "TIER", "ACCEL", "SENT",
                 "RECEIVED", "AGE", "SERVICE"},
                {"ASKED", "RULE", "COOKIE", "RESUMED", "CIPHER", "OWN-IDENTITY", "PEER-IDENTITY"},
                globals.format == Format::kWide);
    auto documents = nlohmann::ordered_json::array();
    const bool document = globals.format == Format::kJson || globals.format == Format::kYaml;
    value_or_fail(client.connections(request, [&](const admin::Connection& one) {
        if (document) {
            documents.push_back(to_json(one));
            return;
        }
        const bool tls = one.security() == "mutual_tls";
        const bool counted = one.protocol() == "TCP" && one.role() != "listener";
        table.add({one.workload(),
                   one.role(),
                   one.protocol(),
                   one.local(),
                   one.remote(),
                   one.peer(),
                   one.state(),
                   one.stale() ? one.verdict() + " (stale)" : one.verdict(),
                   one.tier(),
                   one.accel(),
                   counted ? bytes_text(static_cast<double>(one.bytes_sent())) : "",
                   counted ? bytes_text(static_cast<double>(one.bytes_received())) : "",
                   one.age_seconds() > 0 ? age_text(one.age_seconds()) : "",
                   one.service(),
                   one.asked(),
                   one.rule(),
                   std::to_string(one.cookie()),
                   !tls            ? ""
                   : one.resumed() ? "yes"
                                   : "no",
                   one.cipher(),
                   one.own_identity(),
                   one.peer_identity()});
    }));
    if (document) {
        return globals.format == Format::kJson ? documents.dump(2) + "\n" : to_yaml(documents);
    }
    return table_or_nothing(table, globals, "connections");
}

} // namespace

void add_map_command(CLI::App& weft, Globals& globals) {
    auto* command = weft.add_subcommand("map", "The kernel's maps: how full they are, and every entry in words")
                        ->alias("bpf")
                        ->require_subcommand(1)
                        ->group("Inspect");
    auto* list = command->add_subcommand("list", "Maps with entries, capacity, and entries that had to be repaired")
                     ->alias("ls");
    auto watch = std::make_shared<Watch>();
    add_output_options(*list, globals);
    add_watch_option(*list, *watch);
    list->callback([&globals, watch] {
        auto client = value_or_fail(Client::connect(globals.socket));
        run_watched(*watch, globals, [&] {
            const auto answer = value_or_fail(client.maps());
            return page_of(globals, answer, [&] { return map_table(answer, globals); });
        });
    });

    auto* one = command->add_subcommand("dump", "Every entry of one map, decoded, with names beside numbers");
    auto name = std::make_shared<std::string>();
    one->add_option("NAME", *name, "Map, with or without weft_: service, slot, policy, ipcache, ...")->required();
    add_output_options(*one, globals);
    one->callback([&globals, name] { dump(globals, *name); });
}

void add_conn_command(CLI::App& weft, Globals& globals) {
    auto* command = weft.add_subcommand("conn", "Connections: those that exist, and the life of the next ones")
                        ->alias("ct")
                        ->require_subcommand(1)
                        ->group("Inspect");
    auto* list =
        command
            ->add_subcommand(
                "list",
                "Connections with peer, verdict, bytes, tier of mutual TLS, and the Service that they went through")
            ->alias("ls");
    struct Options {
        Watch watch;
        std::string namespace_name;
    };
    auto options = std::make_shared<Options>();
    add_output_options(*list, globals);
    add_watch_option(*list, options->watch);
    list->add_option("-n,--namespace", options->namespace_name, "Only workloads of this namespace")
        ->option_text("NAMESPACE");
    list->callback([&globals, options] {
        auto client = value_or_fail(Client::connect(globals.socket));
        run_watched(options->watch, globals, [&] { return connections(client, globals, options->namespace_name); });
    });
    add_conn_trace_command(*command, globals);
}

} // namespace weft::cli

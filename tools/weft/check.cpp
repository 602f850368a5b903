// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `weft check`: what this kernel lacks and what that costs. Asks the kernel itself; no agent needed.
#include <fmt/format.h>

#include "agent/admin/features.hpp"
#include "tools/weft/page.hpp"

namespace weft::cli {
namespace {

using admin::KernelFeature;

const char* state_text(KernelFeature::State state) {
    switch (state) {
    case KernelFeature::State::kPresent:
        return "ok";
    case KernelFeature::State::kMissingOptional:
        return "missing";
    case KernelFeature::State::kMissingRequired:
        return "REQUIRED";
    case KernelFeature::State::kUnknown:
        break;
    }
    return "unknown";
}

nlohmann::ordered_json document(const std::vector<KernelFeature>& features) {
    auto list = nlohmann::ordered_json::array();
    for (const auto& feature : features) {
        list.push_back({{"name", feature.name},
                        {"state", state_text(feature.state)},
                        {"detail", feature.detail},
                        {"cost", feature.cost}});
    }
    return {{"kernel", admin::kernel_release()}, {"features", list}};
}

std::string text(const std::vector<KernelFeature>& features, const Globals& globals) {
    Table table({"FEATURE", "STATE", "FOUND"}, {}, false);
    std::string costs;
    for (const auto& feature : features) {
        table.add({feature.name, state_text(feature.state), feature.detail});
        if (feature.state != KernelFeature::State::kPresent) {
            costs += fmt::format("  {}: {}\n", feature.name, feature.cost);
        }
    }
    return fmt::format("Kernel {}\n\n{}{}{}", admin::kernel_release(), table.text(!globals.no_headers),
                       costs.empty() ? "" : "\nWhat a lack costs:\n", costs);
}

} // namespace

void add_check_command(CLI::App& weft, Globals& globals) {
    auto* command =
        weft.add_subcommand("check", "What this kernel lacks and what that costs; needs no agent")->group("Health");
    add_output_options(*command, globals);
    command->callback([&globals] {
        const auto features = admin::probe_kernel();
        switch (globals.format) {
        case Format::kJson:
            fmt::print("{}\n", document(features).dump(2));
            break;
        case Format::kYaml:
            fmt::print("{}", to_yaml(document(features)));
            break;
        default:
            fmt::print("{}", text(features, globals));
        }
        for (const auto& feature : features) {
            if (feature.state == KernelFeature::State::kMissingRequired) {
                throw CLI::RuntimeError(kDegraded);
            }
        }
    });
}

} // namespace weft::cli

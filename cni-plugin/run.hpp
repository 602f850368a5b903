// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One call of the plugin, without the process around it: environment and stdin in, stdout and exit status out.
#pragma once

#include <string>
#include <string_view>

#include "cni-plugin/environment.hpp"
#include "cni-plugin/error.hpp"

namespace weft::cni {

/// What the process is to print and return. On failure `output` is the error object, never anything else.
struct Outcome {
    int exit_status = 0;
    std::string output; ///< empty, or JSON with a line end
};

/// Runs the verb in CNI_COMMAND.
Outcome run(const GetEnv& get, std::string_view input);

/// The error object for `error`, in the CNI version `version`.
Outcome failed(const CniError& error, std::string_view version);

} // namespace weft::cni

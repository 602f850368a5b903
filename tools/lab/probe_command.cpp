// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "tools/lab/commands.hpp"
namespace weft::lab { void add_probe(CLI::App&) {} }

// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How much memory does a resting agent keep? It runs on every node all the time, and needs little of what it touched to
// start: code that loads programs, text that was parsed.
#pragma once

namespace weft::app {

/// Few threads allocate here, and not much: two heaps instead of eight per CPU. Before any thread starts.
void limit_heaps();

/// Gives back what only the start needed: free heap, and pages of code, which come again from the page cache when they
/// are run. Costs some milliseconds, so once.
void release_startup_memory();

} // namespace weft::app

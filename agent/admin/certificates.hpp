// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How does a certificate of this node look in an answer? The same in `weft status` and in `weft identity list`.
#pragma once

#include "admin.pb.h"
#include "agent/admin/view.hpp"

namespace weft::admin {

Certificate describe(const MeshHealth::Certificate& certificate);

} // namespace weft::admin

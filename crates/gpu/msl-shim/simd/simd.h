// All that the kernels need is in metal_stdlib.
#pragma once

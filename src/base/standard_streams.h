// For the start of a program.
#pragma once

namespace sluice {

// Sees to it that descriptors 0 to 2 are taken. A program that was started without them would get
// one of these for a file or socket of its own, and its messages would be written there. What is
// put in place refuses to be read (input) or written (output, errors), as a closed one does.
void keep_standard_streams();

}  // namespace sluice

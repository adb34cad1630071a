# How Node runs the program, be it from a checkout or from the bundle; `root` is the folder of either.

# Compiled and type-stripped modules are kept: 30 MB of memory and 0.3 s less at each start.
export NODE_COMPILE_CACHE="${NODE_COMPILE_CACHE:-$root/.cache/compile}" NODE_COMPILE_CACHE_PORTABLE=1
# Few arenas: what a thread has freed is there for the others. Buffers above 384 KiB go back to the system when they are freed,
# smaller ones are used again: faulting their pages in anew costs kernel time. Builds of millions of files peaked some 100 MB lower.
export MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX:-2}" MALLOC_MMAP_THRESHOLD_="${MALLOC_MMAP_THRESHOLD_:-393216}"
export MALLOC_TRIM_THRESHOLD_="${MALLOC_TRIM_THRESHOLD_:-4194304}"
# Inflating, reading, writing and syncing share libuv's threads; with the usual four, one waits for another.
export UV_THREADPOOL_SIZE="${UV_THREADPOOL_SIZE:-12}"
# Not every option will do: with some, such as --expose-gc, V8 refuses the compiled code that Node has of its own modules.
node_options="--max-semi-space-size=2"

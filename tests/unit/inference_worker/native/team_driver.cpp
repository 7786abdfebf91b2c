// Shares thousands of small pieces of work among teams of two to four threads, and looks at what came of each.
#include <ctime>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "team.h"

int main() {
    for (int threads = 2; threads <= 4; threads++) {
        trunkline::Team team(threads);
        std::vector<int> results(40);
        unsigned seed = 1;
        for (int turn = 0; turn < 20000; turn++) {
            const int chunks = rand_r(&seed) % 40;
            results.assign(40, 0);
            if (turn % 100 == 0) team.limit(1 + rand_r(&seed) % threads);
            team.parallel_for(chunks, [&](int chunk, int) { results[chunk] += chunk + turn; });
            for (int chunk = 0; chunk < 40; chunk++)
                if (results[chunk] != (chunk < chunks ? chunk + turn : 0)) return 1;
            const timespec long_enough_to_fall_asleep = {0, 2000000};
            if (turn % 1000 == 0) nanosleep(&long_enough_to_fall_asleep, nullptr);
        }
    }
    std::puts("every chunk once");
    return 0;
}

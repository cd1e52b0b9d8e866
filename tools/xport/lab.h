/*
 * xport lab: the labs, and how an answer becomes a program.
 *
 * An answer (a student's file, a starter, a mutant) holds only the definitions that differ. graft
 * puts them into the reference source of the stage; the result is compiled with sanitizers and
 * linked with the lab's exercises, the other rooms' reference objects, and one executive at a time.
 */
#ifndef XPORT_LAB_H
#define XPORT_LAB_H

#include "xport.h"

enum { LAB_FILES = 3, LAB_PATH = 4096 };

struct lab_stage {
	unsigned number;
	const char *name;
	const char *summary;
	const char *answer;		    /* what the student's file is called */
	const char *header;		    /* its contract */
	const char *sources[LAB_FILES + 1]; /* of the stage, ending with NULL */
};

/* The lab with this number or name, or NULL. */
const struct lab_stage *lab_find(const char *text);

/* All labs, ending with one whose name is NULL. */
extern const struct lab_stage lab_stages[];

/* Where this xport was built and from what; false, with a line printed, when that is not there. */
bool lab_find_places(void);

/* A path below the source and the build directory. Static storage, of the last few calls. */
char *lab_source_path(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *lab_build_path(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A file of the directory in which one check works; lab_end_work removes it with all in it. */
bool lab_begin_work(void);
char *lab_work_path(const char *format, ...) __attribute__((format(printf, 1, 2)));
void lab_end_work(void);

/* From here on SIGINT, SIGTERM and SIGHUP end the tool that runs, remove the work, and exit. */
void lab_watch_signals(void);

/*
 * Runs a program without input; with paths, standard output and standard error go there. Its exit
 * status, or -1 with a line printed when it could not be run or died of a signal.
 */
int lab_run_tool(char *const *arguments, const char *output, const char *errors);

/* The text of a file, to be freed; NULL when it can't be read. */
char *lab_read_file(const char *path);

/* Builds what a check needs and the build directory lacks. XPORT_OK, or a line is printed. */
int lab_prepare(const struct lab_stage *stage);

struct lab_answer {
	const char *path;
	bool partial; /* a mutant: need not hold all that the starter holds */
};

/*
 * Makes the two programs, work/simulator and work/host. When the answer is at fault, XPORT_FAILED
 * and `complaint` says why, in lines with the answer's own line numbers; when anything else is, a
 * line is printed and it is NULL. `warnings` are the compiler's. Both are to be freed.
 */
int lab_make_programs(const struct lab_stage *stage, const struct lab_answer *answer,
		      char **complaint, char **warnings);

int cmd_lab(int argc, char **argv);

#endif

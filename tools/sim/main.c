#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "scenarios.h"
static void watch(const struct sim_progress *p, void *c){(void)c;(void)p;}
int main(int argc,char**argv){
	struct sim_board *b=explore_new_board();
	const struct sim_scenario *s=argc>1?find_scenario(argv[1]):NULL;
	if(!s){for(s=next_scenario(NULL);s;s=next_scenario(s))printf("%-20s %s\n",s->name,s->says);return 2;}
	struct sim_search q={.scenario=s,.processors=2,.requests=argc>3?atoi(argv[3]):s->requests,.seed=1,.budget_ns=(uint64_t)(atof(argc>2?argv[2]:"3")*1e9),.bound=2,.portfolio=SIM_PORTFOLIO,.strategy=-1};
	bool f=explore(&q,b,watch,NULL);
	struct sim_progress *p=&b->progress;
	printf("%llu schedules in %.2f s: %.0f/s; steps %llu choices %llu lanes %u; exhausted %llu %llu %llu\n",(unsigned long long)p->schedules,p->elapsed_ns/1e9,p->schedules/(p->elapsed_ns/1e9),(unsigned long long)p->most_steps,(unsigned long long)p->most_choices,p->most_lanes,(unsigned long long)p->exhausted[0],(unsigned long long)p->exhausted[1],(unsigned long long)p->exhausted[2]);
	if(f){printf("FOUND %s dev %u\n%s\n",b->finding.rule,b->finding.schedule.deviation_count,b->finding.text);
	for(unsigned i=0;i<b->finding.schedule.deviation_count&&i<8;i++){struct ke_sim_deviation*d=&b->finding.schedule.deviations[i];printf(" %u.%u.%u=%u\n",d->lane,d->turn,d->nth,d->index);}
	unsigned ok=0;struct sim_schedule sch=b->finding.schedule;for(int i=0;i<100;i++)ok+=explore_again(s,&sch,b,NULL,0)&&strcmp(b->finding.rule,"")!=0;printf("replayed %u\n",ok);}
	return f;
}

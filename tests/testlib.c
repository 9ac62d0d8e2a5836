/* keeps the library non-empty */ extern int penstock_testlib; int penstock_testlib;
